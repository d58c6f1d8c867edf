"""Several reward models from one trained head, and their average: the recipe of WARM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tamis.data.read import is_hub_id
from tamis.errors import DataError
from tamis.merge.config import MergeConfig, WarmConfig
from tamis.models.config import ModelConfig
from tamis.recipes.language import naming_language_model
from tamis.recipes.merging import MergeInputs, has_gold, merge_stage
from tamis.recipes.stages import CHECKPOINT, train_stage
from tamis.runs import StageResult
from tamis.train.assemble import term_needs
from tamis.train.config import AdapterConfig, TrainConfig, ViewsConfig

WARM, PROBE = "warm", "probe"
MAX_SEED = 2**31
IN_TURN = 1  # the stream of learning rates that are drawn without replacement

Step = tuple[str, Callable[[], StageResult]]


@dataclass(frozen=True, slots=True)
class WarmRun:
    """What a run of WARM works with; ``held_out`` are pairs that it may be measured on."""

    run: Path
    pairs: Path
    verdicts: Path | None
    held_out: Path | None
    model: ModelConfig
    train: TrainConfig
    warm: WarmConfig
    seed: int


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """How one member is trained; ``seed`` orders its data."""

    name: str
    train: TrainConfig
    seed: int


def member_plans(train: TrainConfig, warm: WarmConfig, *, seed: int) -> list[MemberPlan]:
    """Draw the settings of each member from the seed and its number.

    So a member stays what it was when more are asked for, and one that is trained already is not
    trained again.
    """
    plans = []
    for number in range(warm.num_members):
        rng = np.random.default_rng([seed, number])
        rates = warm.learning_rates
        rate = rates[rng.integers(len(rates))]
        if warm.rate_draws == "in_turn":
            turn, place = divmod(number, len(rates))
            of_turn = np.random.default_rng([seed, turn, IN_TURN])
            rate = rates[of_turn.permutation(len(rates))[place]]
        dropout = warm.head_dropouts[rng.integers(len(warm.head_dropouts))]
        lora = train.lora.model_copy(update={"head_dropout": dropout})
        own = train.model_copy(update={"learning_rate": rate, "lora": lora})
        plans.append(MemberPlan(f"member-{number:02d}", own, int(rng.integers(MAX_SEED))))
    return plans


def probe_plan(train: TrainConfig, warm: WarmConfig) -> TrainConfig:
    """Return how the head is trained alone, before the members.

    That is by the base loss and the terms that read scores alone: what else there is acts on the
    trunk, which is frozen here.
    """
    wanted = train.objective
    of_scores = {
        name: content for name, content in wanted.terms.items() if not term_needs(name, content)
    }
    objective = wanted.model_copy(
        update={
            "base_coefficient": wanted.base_coefficient or 1.0,
            "terms": of_scores,
            "views": ViewsConfig(),
            "meta": None,
        }
    )
    return train.model_copy(
        update={
            "objective": objective,
            "lora": AdapterConfig(part="head"),
            "epochs": warm.probe_epochs,
            "learning_rate": warm.probe_learning_rate,
        }
    )


def check_warm(warm: WarmConfig) -> None:
    """Refuse what the merge would refuse after the members have been trained.

    Raises:
        DataError: there are no validation pairs where they should be.
    """
    path = warm.validation
    if warm.num_members and path is not None and not (Path(path).exists() or is_hub_id(path)):
        raise DataError(f"warm.validation: {path}: no such file or directory")


def warm_steps(wanted: WarmRun) -> list[Step]:
    """Return the stages in their order: the head, each member, and the average of all.

    Each is a stage with a directory of its own, so what is finished is not done again, and a
    member that was interrupted goes on where it stopped.
    """
    folder = wanted.run / WARM
    probe = folder / PROBE / "train" / CHECKPOINT
    # the checkpoint has the layers, the length and the template that the probe was trained with
    start = wanted.model.model_copy(
        update={
            "path": str(probe),
            "num_layers": None,
            "max_length": None,
            "chat_template": None,
            "revision": None,
        }
    )
    train = naming_language_model(wanted.train, wanted.model)
    plans = member_plans(train, wanted.warm, seed=wanted.seed)
    first = _train(
        wanted,
        folder / PROBE,
        model=wanted.model,
        plan=MemberPlan(PROBE, probe_plan(wanted.train, wanted.warm), wanted.seed),
    )
    members = [
        (plan.name, _train(wanted, folder / plan.name, model=start, plan=plan)) for plan in plans
    ]
    checkpoints = [folder / plan.name / "train" / CHECKPOINT for plan in plans]
    return [(PROBE, first), *members, ("merge", lambda: _merge(wanted, checkpoints))]


def _train(
    wanted: WarmRun, run: Path, *, model: ModelConfig, plan: MemberPlan
) -> Callable[[], StageResult]:
    return lambda: train_stage(
        run,
        pairs=wanted.pairs,
        verdicts=wanted.verdicts,
        model=model,
        config=plan.train,
        seed=plan.seed,
    )


def _merge(wanted: WarmRun, checkpoints: list[Path]) -> StageResult:
    warm = wanted.warm
    pairs = wanted.held_out if warm.validation is None else Path(warm.validation)
    return merge_stage(
        wanted.run,
        merged=MergeInputs(
            checkpoints,
            pairs=pairs,
            trained_on=wanted.pairs if pairs is not None and has_gold(wanted.pairs) else None,
        ),
        config=MergeConfig(method=warm.method, curves=warm.curves),
        seed=wanted.seed,
    )
