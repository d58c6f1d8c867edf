"""Demonstrations: answers worth imitating, alone or against what a policy says itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tamis.data.build import answer_turns, prompt_turns
from tamis.data.fields import Row
from tamis.data.read import read_rows
from tamis.data.responses import Responses
from tamis.errors import DataError
from tamis.evaluate.scorers.texts import Text
from tamis.types import Conversation, Pair, Verdict, content_id

PROMPTS = ("prompt", "question", "instruction")
ANSWERS = ("response", "completion", "answer", "output", "chosen")
SOURCE = "demonstration"
LINEAR_MARGIN = 50.0  # so far below it, -log sigmoid is a straight line to the last bit of float32

Form = Literal["logistic", "linear"]


@dataclass(frozen=True, slots=True)
class DemonstrationPairs:
    """Demonstrations against samples as preference data, and what could not be compared.

    Attributes:
        pairs: the demonstration is the chosen side.
        verdicts: one a pair: target 1, the weight that was asked for, and the margin of the form.
        num_identical: samples that say the same as the demonstration, or nothing.
        num_without_sample: demonstrations to whose prompt nothing was sampled.
    """

    pairs: list[Pair]
    verdicts: list[Verdict]
    num_identical: int
    num_without_sample: int


def read_demonstrations(path: str) -> list[Text]:
    """Return prompts with an answer each, from any source that `tamis.data.read.read_rows` reads.

    A row has a prompt (``prompt``, ``question`` or ``instruction``: text or messages) and an answer
    (``response``, ``completion``, ``answer``, ``output`` or ``chosen``: text or messages), or
    ``messages`` alone, of which the last turn is the answer. A text prompt in the HH-RLHF form
    becomes turns, as in pairs. Other keys are not read.

    Raises:
        DataError: there is nothing, or a row is not such; the message names file, row and field.
    """
    found = [_demonstration(Row(path, index, values)) for index, values in read_rows(path)]
    if not found:
        raise DataError(f"{path}: no demonstration there; expected prompts with an answer each")
    return found


def demonstration_pairs(
    demonstrations: Iterable[Text],
    samples: Iterable[Responses],
    *,
    weight: float = 1.0,
    form: Form = "logistic",
) -> DemonstrationPairs:
    """Pair each demonstration with what was sampled for the same prompt, for a reward model.

    A reward model that is trained on these beside preferences is raised on demonstrations and
    lowered on what the current policy says: the reward step of AIHF (arXiv 2406.06874), whose
    weight of demonstrations is the verdicts' weight. Sampled again from each new policy, it is the
    outer loop; pairs of several rounds may be put together.

    The logistic surrogate is ``-log s(r_demonstration - r_sample)``; the linear one is minus the
    difference itself, the gradient of the likelihood, which never comes to rest (take few steps, or
    a term that centres rewards). As data it is a margin of 50, with the loss ``bradley_terry``:
    ``-log s(u) = -u`` so far below 0. The loss that is reported is higher by it, the gradient is
    that of the difference.

    Args:
        demonstrations: as `read_demonstrations` returns them.
        samples: of the current policy; prompts that were not demonstrated are not read.
        weight: of each verdict; preferences have weight 1 unless their verdicts say otherwise.
        form: the surrogate.

    Raises:
        DataError: there is no pair.
    """
    by_prompt = samples_by_prompt(samples)
    pairs: list[Pair] = []
    seen: set[str] = set()
    num_identical = num_without = 0
    for row, (prompt, answer) in enumerate(demonstrations):
        sampled = by_prompt.get(prompt, [])
        num_without += not sampled
        for other in sampled:
            pair_id = content_id(prompt, answer, other)
            if _same(answer, other):
                num_identical += 1
            elif pair_id not in seen:
                seen.add(pair_id)
                pairs.append(Pair(pair_id, prompt, answer, other, source=SOURCE, row=row))
    if not pairs:
        raise DataError(
            f"no demonstration can be compared: {num_without} have no sample for their prompt and "
            f"{num_identical} samples are the demonstration itself"
        )
    margin = LINEAR_MARGIN if form == "linear" else 0.0
    verdicts = [Verdict(p.id, margin=margin, weight=weight, reason=SOURCE) for p in pairs]
    return DemonstrationPairs(pairs, verdicts, num_identical, num_without)


def samples_by_prompt(samples: Iterable[Responses]) -> dict[Conversation, list[Conversation]]:
    """Return the responses to each prompt, but empty ones, in the order in which they come."""
    found: dict[Conversation, list[Conversation]] = {}
    for item in samples:
        responses = [response for response in item.responses if response]
        if responses:
            found.setdefault(item.prompt, []).extend(responses)
    return found


def matched_samples(
    demonstrations: Sequence[Text], samples: Iterable[Responses]
) -> list[tuple[Text, list[Conversation]]]:
    """Return the demonstrations that have samples which say something else, with these samples."""
    by_prompt = samples_by_prompt(samples)
    others = (
        ((prompt, answer), [o for o in by_prompt.get(prompt, []) if not _same(answer, o)])
        for prompt, answer in demonstrations
    )
    return [(text, found) for text, found in others if found]


def _same(first: Conversation, second: Conversation) -> bool:
    return [turn.content.strip() for turn in first] == [turn.content.strip() for turn in second]


def _demonstration(row: Row) -> Text:
    if any(name in row.values for name in ANSWERS):
        asked = row.first(*PROMPTS)
        prompt = prompt_turns(row, asked)
        field = row.first(*ANSWERS)
        answer = answer_turns(row, field, prompt=row.get(asked))
    else:
        field = "messages"
        turns = row.conversation(field, role="user")
        prompt, answer = turns[:-1], turns[-1:]
    if not answer or answer[-1].role != "assistant" or not answer[-1].content.strip():
        raise row.error(field, expected="an answer of the assistant", found=row.get(field))
    if not prompt:
        raise row.error(field, expected="a prompt before the answer", found=row.get(field))
    return prompt, answer
