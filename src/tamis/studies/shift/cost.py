"""How long the shift study takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tamis.studies.plan import CHARACTERS, EXTRA, in_words
from tamis.studies.shift.arms import Arm, arm_of
from tamis.studies.shift.levels import Shifts
from tamis.studies.shift.material import Material
from tamis.studies.shift.plan import MAX_TOKENS, ShiftPlan
from tamis.types import Conversation, Pair

# seconds on two cores: a token sampled, a text read by a judge, a token read by the frozen layers,
# one that is scored and one that is trained on by the others, a token whose next one the language
# model head predicts, the same without training, and a model started and kept
SAMPLE_S, JUDGE_S, READ_S, SCORE_S, TRAIN_S = 4e-3, 0.012, 7e-4, 5e-5, 9e-5
PREDICT_S, REFERENCE_S, START_S = 1.4e-3, 5e-4, 4.0
META_SHARE = 0.9  # of the answers that MetaRM reads are trained on; the others come in at the end
AROUND = 5  # tokens around a message
DRAWN = 5  # answers of a prompt that levels keep, in numbers of answers of one level


def shift_estimate(material: Material, plan: ShiftPlan) -> str:
    """Say how long the study takes at most, on two cores."""
    parts = shift_seconds(material, plan)
    words = ", ".join(f"{name} {in_words(seconds)}" for name, seconds in parts.items())
    return f"estimate on two cores: {in_words(sum(parts.values()))} ({words})"


def shift_seconds(material: Material, plan: ShiftPlan) -> dict[str, float]:
    """Return the seconds of each phase at most."""
    shifts, sizes, num_seeds = Shifts(), plan.sizes, len(plan.seeds)
    most = max(shifts.best)
    sampled = sizes.num_prompts * shifts.num * (most + len(shifts.temperatures))
    sampled += sizes.num_meta * shifts.num * shifts.meta_best
    judged = len(material.gold) + len(material.proxy) + sizes.num_graded
    scored = _tokens([pair for one in material.sets for pair in one.pairs])
    scored += _answered(material.shift_prompts, num=DRAWN * shifts.num, each=shifts.max_new_tokens)
    meta = _answered(material.meta_prompts, num=shifts.num, each=shifts.max_new_tokens)
    own = _tokens([pair for part in material.parts for pair in part]) / sizes.num_pool
    drawn = sizes.num_pool * (1.0 - (1.0 - sizes.num_train / sizes.num_pool) ** num_seeds)
    arms = _models(plan)
    num_models = sum(1 if arm.how == "one" else plan.warm.num_members + 1 for arm in arms)
    trained = START_S + sizes.num_train * own * plan.warm.probe_epochs * TRAIN_S
    trained += sum(_training(arm, material, plan, pair_tokens=own, meta=meta) for arm in arms)
    return {
        "sampling": sampled * shifts.max_new_tokens * SAMPLE_S,
        "judges": 2 * judged * JUDGE_S,
        "reading texts": (scored + drawn * own + meta) * READ_S,
        "training": num_seeds * trained,
        "scoring": num_seeds * num_models * (scored * SCORE_S + START_S),
    }


def _models(plan: ShiftPlan) -> list[Arm]:
    """Return one arm for each cell of a seed."""
    arms = [arm_of(name) for name in plan.arms]
    several = [arm for arm in arms if arm.how != "one"]
    return [arm for arm in arms if arm.how == "one"] + several[:1]


def _training(
    arm: Arm, material: Material, plan: ShiftPlan, *, pair_tokens: float, meta: float
) -> float:
    """Return the seconds of all trainings of an arm under one seed."""
    sizes, train = plan.sizes, plan.train
    passed = sizes.num_train * train.epochs
    seconds = START_S + passed * pair_tokens * TRAIN_S
    if arm.how != "one":
        return plan.warm.num_members * seconds
    if arm.meta != "none":
        # each step reads 16 prompts, about one pass over all of them for as many pairs
        per_prompt = meta / sizes.num_meta
        seconds += passed * per_prompt * TRAIN_S + 2 * (1 - META_SHARE) * meta * SCORE_S
    if "grm" in arm.terms:
        form = arm.terms["grm"]["form"]
        answers = 1 if form == "sft" else 2
        words = sum(_length(pair.chosen) for part in material.parts for pair in part)
        per_answer = min(MAX_TOKENS, words / sizes.num_pool)
        seconds += passed * answers * per_answer * PREDICT_S
        if form == "dpo_reference":
            seconds += sizes.num_train * answers * per_answer * REFERENCE_S
    return seconds


def _tokens(pairs: Sequence[Pair]) -> float:
    """Return the tokens of all texts, what answers to one prompt share counted once."""
    answers: dict[Conversation, set[Conversation]] = {}
    for pair in pairs:
        answers.setdefault(pair.prompt, set()).update((pair.chosen, pair.rejected))
    return sum(_tree(prompt, map(_length, texts)) for prompt, texts in answers.items())


def _answered(prompts: Sequence[Conversation], *, num: int, each: int) -> float:
    return sum(_tree(prompt, [each] * num) for prompt in prompts)


def _tree(prompt: Conversation, lengths: Iterable[float]) -> float:
    """Return the tokens of answers to one prompt; a text that is too long is cut."""
    shared = min(_length(prompt) + EXTRA, MAX_TOKENS)
    return shared + sum(min(length, MAX_TOKENS) for length in lengths)


def _length(text: Conversation) -> float:
    return sum(len(message.content) / CHARACTERS + AROUND for message in text)
