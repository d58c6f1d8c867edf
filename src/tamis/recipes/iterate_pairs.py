"""Pairs that a round of iterated RLHF makes: of its samples, and of demonstrations beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tamis.data import pair_ids, read_pairs, write_pairs
from tamis.data.build import prompt_hash
from tamis.data.responses import Responses, read_responses
from tamis.denoise.tables import read_verdicts, write_verdicts
from tamis.errors import DataError
from tamis.evaluate.scorers.opening import silent
from tamis.policy.align.demonstrations import demonstration_pairs, read_demonstrations
from tamis.policy.iterate.config import DemonstrationSettings
from tamis.policy.rl.config import RewardConfig
from tamis.policy.sampling.best_of import Contest, by_prompt, contests
from tamis.policy.sampling.responses import read_sampled
from tamis.recipes.reinforcing import reward_identity, reward_inputs
from tamis.recipes.rewarding import rewards_as_rl
from tamis.recipes.stages import PAIRS, REPORT, VERDICTS, source_fingerprint, training_pairs
from tamis.runs import Stage, StageResult, fingerprint, run_stage, write_json
from tamis.types import Pair, Verdict, content_id

CHOOSE, MIX = "choose", "mix"


def choose_stage(
    run: Path,
    *,
    responses: Path,
    reward: RewardConfig,
    seed: int,
    prompts: Path | None = None,
    notice: Callable[[str], None] = silent,
) -> StageResult:
    """Pair the best with the worst response to each prompt: ``choose/pairs.parquet``.

    Responses are rewarded as `tamis rl` rewards answers (see `rewards_as_rl`). The margin of a pair
    is the gap of its rewards. Prompts whose responses all have the same score
    teach nothing; they are left out and counted.

    Args:
        run: the directory to write into.
        responses: of the policy.
        reward: what rewards them.
        seed: of drawn principles.
        prompts: the file that was answered; see `guide_of`.
        notice: takes lines for the user.

    Raises:
        DataError: no prompt is left, or see `rewards_as_rl`.
        ConfigError: see `rewards_as_rl`.
    """
    stage = Stage(
        run / CHOOSE,
        reward_identity(reward, seed=seed),
        {"responses": fingerprint(responses), **reward_inputs(reward, prompts=prompts)},
    )

    def produce(out: Path, _: Path) -> None:
        answers = [one for one in read_sampled(str(responses)) if len(one.responses) > 1]
        rewards = rewards_as_rl(reward, clip=None, seed=seed, prompts=prompts, notice=notice)
        scores = by_prompt(rewards(answers), answers)
        found = [
            contest
            for one, score_M in zip(answers, scores, strict=True)
            for contest in contests([one], [score_M], n=len(one.responses))
        ]
        pairs = [
            _pair(one, row=row)
            for row, one in enumerate(found)
            if not one.is_tie and one.best != one.worst
        ]
        if not pairs:
            raise DataError(
                f"{responses}: the reward model scores all responses to each of {len(answers)} "
                "prompts alike, so none is the best; sample more, or at a higher temperature"
            )
        write_pairs(out / PAIRS, pairs)
        counts = {"num_pairs": len(pairs), "num_ties": len(found) - len(pairs)}
        write_json(out / REPORT, {"num_prompts": len(answers), **counts})

    return run_stage(stage, produce)


def _pair(one: Contest, *, row: int) -> Pair:
    return Pair(
        content_id(one.prompt, one.best, one.worst),
        one.prompt,
        one.best,
        one.worst,
        group=prompt_hash(one.prompt),
        source="best against worst",
        margin=one.best_score - one.worst_score,
        row=row,
    )


def mix_stage(
    run: Path,
    *,
    pairs: Path,
    verdicts: Path | None,
    samples: Sequence[Path],
    settings: DemonstrationSettings,
) -> StageResult:
    """Put demonstrations against samples beside the pairs: ``mix/pairs.parquet``, verdicts too.

    This is the reward step of AIHF's outer loop (arXiv 2406.06874).

    Raises:
        DataError: a file cannot be read, or no demonstration has a sample to its prompt.
    """
    inputs = {
        "pairs": fingerprint(pairs),
        "demonstrations": source_fingerprint(settings.path),
        **{f"samples {number}": fingerprint(path) for number, path in enumerate(samples)},
    }
    if verdicts is not None:
        inputs["verdicts"] = fingerprint(verdicts)
    stage = Stage(run / MIX, settings.identity(), inputs)

    def every_sample() -> Iterator[Responses]:
        for path in samples:
            yield from read_responses(str(path))

    def produce(out: Path, _: Path) -> None:
        known = list(training_pairs(pairs))
        decided = (
            [Verdict(id_) for id_ in pair_ids(known).to_pylist()]
            if verdicts is None
            else read_verdicts(verdicts)
        )
        added = demonstration_pairs(
            read_demonstrations(settings.path),
            every_sample(),
            weight=settings.weight,
            form=settings.form,
        )
        taken = set(pair_ids(read_pairs(pairs)).to_pylist())
        new = [pair for pair in added.pairs if pair.id not in taken]
        ids = {pair.id for pair in new}
        factor = settings.preference_weight
        # what is held out stays there, for the evaluation of the reward model
        whole = list(read_pairs(pairs))
        write_pairs(out / PAIRS, [*whole, *(replace(pair, split="train") for pair in new)])
        write_verdicts(
            out / VERDICTS,
            [
                *(replace(verdict, weight=factor * verdict.weight) for verdict in decided),
                *(verdict for verdict in added.verdicts if verdict.id in ids),
            ],
        )
        counts = {"num_identical": added.num_identical, "num_known": len(added.pairs) - len(new)}
        counts["num_without_sample"] = added.num_without_sample
        write_json(out / REPORT, {"num_pairs": len(known), "num_added": len(new), **counts})

    return run_stage(stage, produce)
