"""Where the turns of rendered text begin and end, so that principles can be put into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from tamis.models.template import begin_token, end_token
from tamis.principles.layout import REVIEWER, principle_block

FIRST, LAST = "tamisfirst", "tamislast"  # words that no template writes


@dataclass(frozen=True, slots=True)
class Marks:
    """What a model's chat template writes around turns.

    Attributes:
        heads: what can stand before the content of the first turn, longest first.
        tails: what can stand behind that of the last one, longest first.
        begin: the first token of every text, or nothing.
    """

    heads: tuple[str, ...]
    tails: tuple[str, ...]
    begin: str

    def conditioned(self, text: str, *, texts: Sequence[str]) -> str:
        """Return rendered text with principles, in the layout ``prompt_first``.

        Text that the model's own template rendered becomes what the template makes of the
        conversation with principles. In other text the reviewer's instruction comes first, and the
        principles come last.

        >>> Marks(("<u>",), ("</s>",), "").conditioned("<u>Hi<a>Yes?</s>", texts=["Be kind."])[:8]
        '<u>A rev'
        """
        head = next((head for head in self.heads if text.startswith(head)), None)
        if head is None:
            head = self.begin if text.startswith(self.begin) else ""
        stripped = text.rstrip()
        tail = next((tail for tail in self.tails if stripped.endswith(tail)), "")
        said = stripped.removesuffix(tail) if tail else text
        body = said.removeprefix(head)
        block = principle_block(texts)
        return f"{head}{REVIEWER}\n\n{body}\n\n{block}{tail or self.tails[-1]}"


def marks_of(tokenizer: PreTrainedTokenizerBase) -> Marks:
    """Return the marks of a tokenizer's chat template.

    Raises:
        ConfigError: the tokenizer has no end token.
    """
    begin, end = begin_token(tokenizer), end_token(tokenizer)
    heads, tails = set[str](), {end}
    for roles in (("user",), ("system", "user")):
        contents = [FIRST, *("" for _ in roles[1:]), LAST]
        turns = [
            {"role": role, "content": content}
            for role, content in zip((*roles, "assistant"), contents, strict=True)
        ]
        try:
            rendered = str(tokenizer.apply_chat_template(turns, tokenize=False))
        except TemplateError:  # some templates know no system turn
            continue
        head, found, _ = rendered.partition(FIRST)
        tail = rendered.rpartition(LAST)[2].rstrip()
        if found:
            heads |= {head, head.removeprefix(begin)}
        tails |= {tail, tail.removesuffix(end).rstrip()}

    def longest_first(marks: set[str]) -> tuple[str, ...]:
        return tuple(sorted(filter(None, marks), key=len, reverse=True))

    return Marks(longest_first(heads), longest_first(tails), begin)
