"""The command that samples from a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tamis.cli.bench import Calibrated, How, Options, Penalty, Principles, scorer_options
from tamis.cli.options import (
    PrinciplesFile,
    PrinciplesLayout,
    Seed,
    assigned,
    ensemble_of,
    override,
    principles_of,
    seed_of,
)
from tamis.errors import ConfigError

if TYPE_CHECKING:
    from tamis.evaluate.scorers import ScorerOptions
    from tamis.metrics.ensemble import Ensemble
    from tamis.models.config import ModelConfig
    from tamis.principles.layout import Layout
    from tamis.recipes.scoring import Scoring
    from tamis.runs import StageResult

Prompts = Annotated[
    str, typer.Argument(help="Prompts: JSONL, CSV or Parquet file, hub id, or preference data.")
]
Policy = Annotated[
    str | None, typer.Option(help="Directory or hub id of a chat model to sample from.")
]
Out = Annotated[Path, typer.Option(help="Run directory; responses go to OUT/sample.")]
BestOf = Annotated[int | None, typer.Option(help="Keep the best of so many (default: of --num).")]
Rm = Annotated[
    list[str] | None,
    typer.Option(help="Picks the best: a scorer, as for bench; several make one ensemble."),
]
Gold = Annotated[
    list[str] | None, typer.Option(help="Says what the picks are worth: a scorer, or several.")
]
Num = Annotated[
    int | None,
    typer.Option(help="Responses to each prompt (default: n, or 4; 1 at temperature 0)."),
]
Temperature = Annotated[float | None, typer.Option(help="0 = the likeliest token, always.")]
TopP = Annotated[float | None, typer.Option(help="Share of the likeliest tokens to draw from.")]
TopK = Annotated[int | None, typer.Option(help="Likeliest tokens to draw from; 0 = all.")]
RepetitionPenalty = Annotated[float | None, typer.Option(help="1 = none.")]
MaxNewTokens = Annotated[int | None, typer.Option(help="Tokens of a response at most.")]
MaxPromptTokens = Annotated[int | None, typer.Option(help="Last tokens of a prompt to read.")]
Limit = Annotated[int | None, typer.Option(help="Prompts at most.")]
LogProbs = Annotated[
    bool, typer.Option("--log-probs", help="Write log probabilities under the policy.")
]
Endpoint = Annotated[
    str | None, typer.Option(help="URL#MODEL: the policy behind an OpenAI-compatible server.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any other setting: sampling.KEY=VALUE, such as sampling.min_new_tokens=1, or "
        "policy.KEY=VALUE, such as policy.dtype=bfloat16 (repeatable).",
    ),
]

Report = dict[str, Any]
Table = tuple[str, list[str], list[list[str]]]
# name of the option -> key of the configuration
KEYS = {
    "best_of": "best_of",
    "limit": "limit",
    "log_probs": "log_probs",
    "num": "sampling.num",
    "temperature": "sampling.temperature",
    "top_p": "sampling.top_p",
    "top_k": "sampling.top_k",
    "repetition_penalty": "sampling.repetition_penalty",
    "max_new_tokens": "sampling.max_new_tokens",
    "max_prompt_tokens": "sampling.max_prompt_tokens",
}


def sample(
    prompts: Prompts,
    policy: Policy = None,
    out: Out = Path("runs/sample"),
    best_of: BestOf = None,
    rm: Rm = None,
    ensemble: How = None,
    penalty: Penalty = None,
    principle: Principles = None,
    principles: PrinciplesFile = None,
    layout: PrinciplesLayout = None,
    calibrated: Calibrated = False,
    gold: Gold = None,
    option: Options = None,
    num: Num = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    repetition_penalty: RepetitionPenalty = None,
    max_new_tokens: MaxNewTokens = None,
    max_prompt_tokens: MaxPromptTokens = None,
    limit: Limit = None,
    log_probs: LogProbs = False,
    endpoint: Endpoint = None,
    set_: Settings = None,
    seed: Seed = None,
) -> None:
    """Sample responses from a policy; with a reward model, keep the best of n.

    Writes OUT/sample: responses.jsonl, report.json and, with --rm, best.jsonl (a set to fine-tune
    on) and pairs.jsonl (best against worst). The reward of the best of 1, 2, 4, ... is shown
    against the KL divergence from the policy; with --gold, what it is worth.
    """
    num = _num(num, best_of=best_of, temperature=temperature)
    flags = {key: value for name, value in locals().items() if (key := KEYS.get(name))}

    from tamis.cli.screen import watcher
    from tamis.evaluate.scorers.options import ASKED
    from tamis.policy.sampling.config import SampleConfig
    from tamis.recipes.sampling import sample_stage

    others = () if endpoint is None else ASKED
    options = scorer_options(option, scorers=[*(rm or []), *(gold or [])], others=others)
    flags["endpoint"] = None if endpoint is None else _endpoint(endpoint, options)
    given, model = _settings(set_, policy=policy)
    how = ensemble_of(len(rm or [""]), how=ensemble, penalty=penalty)
    asked = _asked(principle or [], file=principles, layout=layout)
    result = sample_stage(
        out,
        prompts=Path(prompts),
        policy=model,
        config=override(SampleConfig, {}, flags, assignments=given),
        scoring=_scoring(rm, how, asked=asked, calibrated=calibrated, options=options),
        gold=_scoring(gold, None, asked=((), asked[1]), calibrated=False, options=options),
        seed=seed_of(None, seed),
        notice=watcher().say,
    )
    _show(result)


def _show(result: StageResult) -> None:
    from tamis.cli.screen import show_path, show_tables
    from tamis.recipes.stages import REPORT
    from tamis.runs import read_json

    show_tables(sample_tables(read_json(result.directory / REPORT)))
    show_path("written:" if result.fresh else "already done:", result.directory)


def _num(num: int | None, *, best_of: int | None, temperature: float | None) -> int | None:
    """Return how many responses are asked for, if anything says so."""
    if num is None and best_of is None and temperature == 0:
        return 1
    return best_of if num is None else num


def _settings(
    texts: list[str] | None, *, policy: str | None
) -> tuple[dict[str, Any], ModelConfig | None]:
    """Return what was set beyond the options, and how the policy is read.

    Raises:
        ConfigError: a text is no KEY=VALUE, a key or value is none that is known, or one is of a
            policy where none is named.
    """
    from tamis.models.config import ModelConfig

    given = dict(assigned(text) for text in texts or [])
    of_policy = {k.removeprefix("policy."): v for k, v in given.items() if k.startswith("policy.")}
    rest = {key: value for key, value in given.items() if not key.startswith("policy.")}
    if policy is not None:
        return rest, override(ModelConfig, {"path": policy}, {}, assignments=of_policy)
    if of_policy:
        raise ConfigError(f"policy.{next(iter(of_policy))} is set, and no --policy is named")
    return rest, None


def _asked(
    principle: list[str], *, file: Path | None, layout: str | None
) -> tuple[tuple[str, ...], Layout]:
    """Return the words of the principles that are named, and their layout."""
    from tamis.recipes.conditioning import asked_texts

    known = principles_of({}, file=file, layout=layout)
    return asked_texts(principle, file=known.file), known.layout


def _scoring(
    scorers: list[str] | None,
    ensemble: Ensemble | None,
    *,
    asked: tuple[tuple[str, ...], Layout],
    calibrated: bool,
    options: ScorerOptions,
) -> Scoring | None:
    """Return how responses are scored, if scorers are named."""
    from tamis.evaluate.scorers.calibrated import with_calibrators
    from tamis.recipes.scoring import Scoring

    if not scorers:
        return None
    return Scoring(
        with_calibrators(scorers) if calibrated else scorers,
        ensemble=ensemble,
        principles=asked[0],
        layout=asked[1],
        options=options,
    )


def sample_tables(report: Report) -> list[Table]:
    """Return the tables for the terminal: the responses, and what the best of n is worth."""
    tables: list[Table] = [("Responses", ["what", "value"], _responses(report))]
    curve = report.get("curve")
    if curve:
        tables.append(_curve(curve))
    return tables


def _responses(report: Report) -> list[list[str]]:
    watch = report["watch"]
    rows = [["responses", f"{watch['num_responses']:,} to {watch['num_prompts']:,} prompts"]]
    if watch["finished_frac"] is not None:
        rows.append(["ended by themselves", f"{100 * watch['finished_frac']['value']:.1f}%"])
    for name, title in (("tokens", "tokens"), ("characters", "characters")):
        if watch[name] is not None:
            rows.append([title, f"{watch[name]['mean']['value']:.1f} ± {watch[name]['std']:.1f}"])
    rows.append(["distinct words, pairs", f"{watch['distinct_1']:.3f}, {watch['distinct_2']:.3f}"])
    if watch["self_bleu"] is not None:
        mean = sum(watch["self_bleu"]) / len(watch["self_bleu"])
        rows.append(["Self-BLEU, 2 to 5", f"{mean:.3f}"])
    rows.append(["repeated 4-grams", f"{100 * watch['repeated_frac']['value']:.1f}%"])
    best = report.get("best_of")
    if best is not None:
        rows.append([f"best of {best['n']}", f"{best['num_best']:,} kept"])
        ties = f", {best['num_ties']:,} ties left out" if best["num_ties"] else ""
        rows.append(["best against worst", f"{best['num_pairs']:,} pairs{ties}"])
    return rows


def _curve(curve: list[Report]) -> Table:
    has_ties = any(point["kl"] < point["kl_bound"] - 1e-9 for point in curve)
    has_gold = curve[0]["gold"] is not None
    columns = [
        "n",
        "KL, at most",
        *(["KL, with ties"] if has_ties else []),
        "reward",
        "above one",
        *(["gold reward", "above one"] if has_gold else []),
    ]
    rows = []
    for point in curve:
        row = [str(point["num"]), f"{point['kl_bound']:.3f}"]
        row += [f"{point['kl']:.3f}"] if has_ties else []
        for name in ("proxy", "gold") if has_gold else ("proxy",):
            row += [_value(point[name]), _value(point[f"{name}_gain"], sign="+")]
        rows.append(row)
    title = (
        "Best of n, expected, with 95% intervals over prompts. KL in nats: log n - (n - 1) / n, "
        "exact without equal scores"
    )
    return title, columns, rows


def _value(interval: Report, *, sign: str = "") -> str:
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _endpoint(address: str, options: ScorerOptions) -> dict[str, Any]:
    """Return how the policy behind URL#MODEL is asked."""
    from tamis.evaluate.scorers.opening import split_model
    from tamis.remote.http import checked_address

    url, model = split_model(address)
    if model is None:
        raise ConfigError(
            f"--endpoint {address!r} names no model; expected URL#MODEL, such as "
            "http://localhost:8000/v1#my-policy"
        )
    found: dict[str, Any] = options.endpoint(checked_address(url), model=model).model_dump()
    return found
