"""A conversation with its principles: what a principle-conditioned reward model reads.

The head reads the last token, so the principles and a cue come after the answer, as in SALMON (Sun
et al., arXiv 2310.05910). Two orders:

* ``prompt_first`` (the default, a deviation): reviewer's instruction, prompt, answer, principles,
  cue. Answers to one prompt share its tokens, and one answer under many principles shares all but
  its last lines, so both are computed once. Only the prompt's start is ever cut.
* ``answer_first`` (as published): reviewer's instruction, answer, prompt, principles, cue. Nothing
  but the instruction is shared, and nothing is cut: what is too long is dropped.

Both keep the roles that a chat template expects and end with one assistant turn. That turn holds
the answer with the principles behind it, so that differences of length between two answers stay
what they were, and no template can take something out of an answer that is no longer the last
turn (some remove its reasoning). The price: no role token stands between an answer and the
principles, as in the published plain text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, get_args

from tamis.errors import DataError
from tamis.types import Conversation, Message, Pair, content_id

Layout = Literal["prompt_first", "answer_first"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

# every example carries these words, so they are few
REVIEWER = "A reviewer judges how well an assistant answers."
ANSWER_HEADING = "Here is an answer of the assistant."
HEADING = "### Principles"
CUE = "Judged by these principles alone, the quality of the answer is"


def principle_block(texts: Sequence[str]) -> str:
    """Return what follows an answer: the principles as a list, and the cue at the very end.

    >>> principle_block(["Be brief."]).splitlines()[1]
    '- Be brief.'

    Raises:
        ValueError: there is no principle.
    """
    if not texts:
        raise ValueError("expected at least one principle")
    items = "\n".join(f"- {text}" for text in texts)
    return f"{HEADING}\n{items}\n\n{CUE}"


def shortest_around(texts: Sequence[str]) -> Conversation:
    """Return the shortest conversation that holds the principles, to count their tokens in."""
    return (Message("user", "?"), Message("assistant", principle_block(texts)))


def room_problem(num_tokens: int, *, limit: int, is_cut: bool = False) -> str | None:
    """Return what is wrong with principles of so many tokens, if anything.

    Args:
        num_tokens: of the principles.
        limit: tokens that are read.
        is_cut: the limit is what a request keeps of a text, and not what the model reads.

    >>> room_problem(9, limit=8)
    'the principles take 9 tokens of the 8 that the reward model reads; name fewer or shorter ones'
    >>> room_problem(7, limit=8)
    """
    if num_tokens < limit:
        return None
    return (
        f"the principles take {num_tokens} tokens of the {limit} that "
        f"{'are kept' if is_cut else 'the reward model reads'}; name fewer or shorter ones"
    )


def is_conditioned(pair: Pair) -> bool:
    """Tell whether the sides of a pair carry principles already."""
    return all(side[-1].content.endswith(CUE) for side in (pair.chosen, pair.rejected))


def layout_named(name: object) -> Layout | None:
    """Return the layout of this name, or ``None`` where there is none.

    >>> layout_named("answer_first"), layout_named("sideways")
    ('answer_first', None)
    """
    return next((layout for layout in LAYOUTS if layout == name), None)


def layout_of(pair: Pair) -> Layout | None:
    """Return how a pair carries its principles, or ``None`` where it carries none."""
    if not is_conditioned(pair):
        return None
    request = Message("user", f"{REVIEWER} {ANSWER_HEADING}")
    return "answer_first" if pair.prompt == (request,) else "prompt_first"


def condition(
    prompt: Conversation,
    answer: Conversation,
    *,
    texts: Sequence[str],
    layout: Layout = "prompt_first",
) -> tuple[Conversation, Conversation]:
    """Return prompt and answer that carry principles; the answer ends with the cue.

    Args:
        prompt: the turns before the answer, perhaps none.
        answer: turns that end with an assistant turn.
        texts: the principles, each as it is to be read, in this order.
        layout: see the module.

    >>> hi, yes = (Message("user", "Hi"),), (Message("assistant", "Yes?"),)
    >>> turns = condition(hi, yes, texts=["Be brief."])[1]
    >>> turns[0].content.startswith("Yes?"), turns[0].content.endswith(CUE)
    (True, True)
    """
    block = principle_block(texts)
    if layout == "prompt_first":
        *before, last = answer
        whole = replace(last, content=f"{last.content}\n\n{block}")
        return _reviewed(prompt), (*before, whole)
    asked = f"### Asked\n{_transcript(prompt)}\n\n" if prompt else ""
    body = f"### Answer\n{_transcript(answer)}\n\n{asked}{block}"
    request = Message("user", f"{REVIEWER} {ANSWER_HEADING}")
    return (request,), (Message("assistant", body),)


def condition_pair(pair: Pair, *, texts: Sequence[str], layout: Layout = "prompt_first") -> Pair:
    """Return a pair whose sides carry principles, under a new id; group and split stay.

    Raises:
        DataError: the pair carries principles already.
    """
    if is_conditioned(pair):
        raise DataError(
            f"pair {pair.id} carries principles already; give the pairs that they were made from"
        )
    prompt, chosen = condition(pair.prompt, pair.chosen, texts=texts, layout=layout)
    _, rejected = condition(pair.prompt, pair.rejected, texts=texts, layout=layout)
    id_ = content_id(prompt, chosen, rejected)
    return replace(pair, id=id_, prompt=prompt, chosen=chosen, rejected=rejected)


def condition_pairs(
    pairs: Iterable[Pair], *, texts: Sequence[str], layout: Layout = "prompt_first"
) -> Iterator[Pair]:
    """Give the pairs with the same principles in each; their labels stay.

    Raises:
        DataError: a pair carries principles already.
    """
    return (condition_pair(pair, texts=texts, layout=layout) for pair in pairs)


def _reviewed(prompt: Conversation) -> Conversation:
    """Put the reviewer's instruction into the first turn: not every template has a system turn."""
    if not prompt or prompt[0].role not in ("system", "user"):
        return prompt
    first, *rest = prompt
    return (replace(first, content=f"{REVIEWER}\n\n{first.content}"), *rest)


def _transcript(turns: Conversation) -> str:
    if len(turns) == 1:
        return turns[0].content
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in turns)
