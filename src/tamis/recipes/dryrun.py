"""The dry run: what a recipe would do, found out without weights, a device or writing anything."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tamis.data import DataConfig, prepare
from tamis.data.prepare import count_rows
from tamis.data.published import as_published
from tamis.data.read import is_hub_id
from tamis.data.responses import read_responses
from tamis.errors import DataError
from tamis.models.source import quiet
from tamis.models.tokenise import load_tokenizer, make_fit_check, pad_id_of
from tamis.recipes.pipeline import check_late_stages
from tamis.recipes.schema import Recipe
from tamis.report.numbers import plural
from tamis.train.arguments import micro_batches_of, steps_of, warmup_steps_of
from tamis.train.build import base_of
from tamis.train.config import TrainConfig
from tamis.train.equip import checked_shape

SAMPLE_ROWS = 200
STATES_OF_ADAMW = 2
NOT_LOOKED_AT = "a hub id, not looked at"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model that would be trained.

    Attributes:
        kind: the class of the reward model.
        num_parameters: of trunk and head, and of adapters where there are any.
        num_trained: those of them that are trained.
        num_bytes: of weights, gradients and both moments of AdamW, on all processes together where
            they are spread, else on each; activations are not in it. 4-bit weights count as the
            type that they are computed in.
        max_length: tokens of a conversation.
    """

    kind: str
    num_parameters: int
    num_trained: int
    num_bytes: int
    max_length: int


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What the first rows of the data say, or the columns that data of the hub are known to have.

    ``num_pairs`` are those to train on, if that is known.
    """

    num_pairs: int | None
    found: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """The steps of a training run on so many pairs, and how processes divide a batch of it."""

    num_pairs: int
    num_steps: int
    num_warmup: int
    num_processes: int
    num_micro_batches: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would do; ``schedule`` is ``None`` where the number of pairs is not known.

    ``meta`` is what is there of the meta set, ``None`` where the recipe names none.
    """

    model: ModelFacts
    data: DataFacts
    meta: str | None
    schedule: Schedule | None

    def rows(self, recipe: Recipe) -> list[list[str]]:
        """Return the table that is printed: what, and its value."""
        meta = [] if self.meta is None else [["meta set", self.meta]]
        return [
            *_model_rows(self.model, recipe),
            ["data", self.data.found],
            *meta,
            ["denoise", recipe.denoise.policy],
            ["objective", _objective(recipe.train)],
            *_schedule_rows(self.schedule, recipe),
            ["bench", ", ".join(b.name for b in recipe.bench) or "held-out pairs, if any"],
        ]


def dry_run(recipe: Recipe, *, num_processes: int, num_pairs: int | None = None) -> DryRun:
    """Check a recipe and find out what its training would be.

    The names in it are looked up, the model is built on the meta device from its configuration, and
    the first 200 rows of the data are read where these are a local file or folder. A model that is
    a hub id is asked for its configuration and tokenizer alone; data that are a hub id are not
    looked at. The meta set may still be missing.

    Args:
        recipe: which run.
        num_processes: that will train.
        num_pairs: to train on; ``None`` estimates them from the first rows, which takes counting
            all of them.

    Raises:
        ConfigError: what `run_stages` would refuse before the first stage, a model whose
            configuration or tokenizer cannot be loaded or which the settings do not fit, or fewer
            pairs in a batch than processes.
        DataError: the data or the meta set cannot be read, or give no pair.
    """
    objective = recipe.train.objective.model_copy(update={"meta": None})
    train = recipe.train.model_copy(update={"objective": objective})
    check_late_stages(recipe.model_copy(update={"train": train}))
    with quiet():
        tokenizer = load_tokenizer(recipe.model)
        model = _model_facts(recipe, train, tokenizer)
    data = _data_facts(recipe, tokenizer, given=num_pairs)
    meta = recipe.train.objective.meta
    schedule = _schedule(train, data.num_pairs, num_processes=num_processes)
    return DryRun(model, data, None if meta is None else _meta_found(meta.path), schedule)


def _schedule(train: TrainConfig, num_pairs: int | None, *, num_processes: int) -> Schedule | None:
    if num_pairs is None:  # too many processes are refused all the same
        micro_batches_of(train, num_pairs=train.batch_size, num_processes=num_processes)
        return None
    num_left = max(1, round((1 - train.watch.holdout_frac) * num_pairs))
    num_micro = micro_batches_of(train, num_pairs=num_left, num_processes=num_processes)
    num_steps = steps_of(train, num_pairs=num_left)
    num_warmup = warmup_steps_of(train, num_steps=num_steps)
    return Schedule(num_left, num_steps, num_warmup, num_processes, num_micro)


def _model_facts(
    recipe: Recipe, train: TrainConfig, tokenizer: PreTrainedTokenizerBase
) -> ModelFacts:
    model = checked_shape(recipe.model, train, pad_token_id=pad_id_of(tokenizer))
    weights = list(model.parameters())
    trained = [weight for weight in weights if weight.requires_grad]
    return ModelFacts(
        kind=type(base_of(model)).__name__,
        num_parameters=sum(weight.numel() for weight in weights),
        num_trained=sum(weight.numel() for weight in trained),
        num_bytes=sum(weight.nbytes for weight in weights)
        + (1 + STATES_OF_ADAMW) * sum(weight.nbytes for weight in trained),
        max_length=int(tokenizer.model_max_length),
    )


def _data_facts(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, *, given: int | None
) -> DataFacts:
    config = recipe.data
    if not Path(config.path).exists():
        if is_hub_id(config.path):
            published = as_published(config)
            return DataFacts(given, ": ".join(filter(None, (NOT_LOOKED_AT, published))))
        raise DataError(f"{config.path}: no such file or directory")
    limit = min(config.limit or SAMPLE_ROWS, SAMPLE_ROWS)
    # the share of a few rows says little of all
    first = config.model_copy(update={"limit": limit, "max_dropped_frac": 1.0})
    check_fit = None
    if recipe.principles.judge is None:
        check_fit = make_fit_check(tokenizer, int(tokenizer.model_max_length))
    report = prepare(first, check_fit=check_fit).report
    dropped = ", ".join(f"{kind} {count}" for kind, count in report["dropped"].items())
    found = (
        f"convention {report['convention']}; {report['num_rows']} rows give "
        f"{report['num_pairs']} pairs" + (f", dropped: {dropped}" if dropped else "")
    )
    is_known = recipe.principles.judge is None  # else pairs become examples, nobody knows how many
    counted = _count_pairs(config, report) if is_known and given is None else given
    return DataFacts(counted, found)


def _count_pairs(config: DataConfig, report: dict[str, object]) -> int | None:
    """Estimate the pairs to train on from the report on the first rows."""
    num_seen, splits = report["num_rows"], report["splits"]
    assert isinstance(num_seen, int)
    assert isinstance(splits, dict)
    num_trained = sum(count for split, count in splits.items() if split != "test")
    num_rows = num_seen if num_seen < SAMPLE_ROWS else count_rows(config)
    if num_trained == 0 and num_rows == num_seen:
        raise DataError(f'{config.path}: no pair to train on: every pair is in the split "test"')
    return round(num_trained * num_rows / num_seen) or None


def _meta_found(path: str) -> str:
    if not Path(path).exists():
        return f"{path}: {NOT_LOOKED_AT}" if is_hub_id(path) else f"{path}: not there yet"
    num_responses = [len(row.responses) for row in islice(read_responses(path), SAMPLE_ROWS)]
    if not num_responses:
        raise DataError(f"{path}: there is not a single row")
    least, most = min(num_responses), max(num_responses)
    counts = f"{least}" if least == most else f"{least} to {most}"
    return f"{path}: {counts} responses in each of the first {len(num_responses)} rows"


def _model_rows(model: ModelFacts, recipe: Recipe) -> list[list[str]]:
    lora, dtype = recipe.train.lora, recipe.model.dtype
    part = {"all": "all weights", "head": "the head alone"}[lora.part]
    if lora.rank:
        top = lora.top_layers
        where = "" if top is None else f" in the last {plural(top, 'layer')}"
        of = " on the attention" if lora.targets == "attention" else ""
        part = f"LoRA of rank {lora.rank}{of}{where}, and the head"
    share = f"{100 * model.num_trained / model.num_parameters:.2f}%"
    rows = [
        ["model", f"{recipe.model.path}: {model.kind}"],
        ["parameters", f"{model.num_parameters:,} ({dtype})"],
        ["trained", f"{model.num_trained:,} ({share}): {part}"],
    ]
    if lora.quantise == "none":
        size = f"{model.num_bytes / 2**30:.3g} GiB"
        rows.append(["weights, gradients, AdamW", size])
    return [*rows, ["tokens of a conversation", f"{model.max_length:,} at most"]]


def _objective(train: TrainConfig) -> str:
    objective = train.objective
    parts = [f"{objective.base_coefficient:g} {train.loss}"]
    for name, settings in objective.terms.items():
        listed = ", ".join(f"{key} {value}" for key, value in settings.items())
        parts.append(f"{name} ({listed})" if listed else name)
    return " + ".join(parts) + ("" if objective.meta is None else ", MetaRM step")


def _schedule_rows(schedule: Schedule | None, recipe: Recipe) -> list[list[str]]:
    train, warm = recipe.train, recipe.warm
    if schedule is None:
        return [["steps", "unknown: give --num-pairs"]]
    largest = -(-train.batch_size // (schedule.num_processes * schedule.num_micro_batches))
    rows = [
        ["pairs to train on", f"{schedule.num_pairs:,}"],
        [
            "batch",
            f"{train.batch_size} pairs; processes {schedule.num_processes}, micro-batches of each "
            f"{schedule.num_micro_batches}, pairs of one at most {largest}",
        ],
        [
            "steps",
            f"{schedule.num_steps:,}, {schedule.num_warmup:,} of them warm up; "
            f"learning rate {train.learning_rate:g}",
        ],
    ]
    if warm.num_members:
        rows.append(["models", f"{warm.num_members} from one head, so many runs, and their mean"])
    return rows
