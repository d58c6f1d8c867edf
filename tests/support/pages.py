"""What tests ask of a page in HTML: the report's, or the review's."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """A page; checks that every tag is closed, every id there once, and no tag runs a script."""

    def __init__(self, text: str) -> None:
        """Read the page."""
        super().__init__()
        self.text, self.words = text, ""
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.forms: list[dict] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, self._open
        self.ids = self.values("id")
        assert len(self.ids) == len(set(self.ids)), self.ids

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag, and the fields of forms."""
        named = {name: value or "" for name, value in attrs}
        assert not [name for name in named if name.startswith("on")], named
        self.tags.append((tag, named))
        if tag == "form":
            self.forms.append({"action": named.get("action", ""), "fields": {}})
        if tag in ("input", "button") and "name" in named and "form" in self._open:
            self.forms[-1]["fields"].setdefault(named["name"], named.get("value", ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that is closed at once, as in pictures."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the tag was open."""
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        """Collect what is read."""
        self.words += data

    def count(self, tag: str) -> int:
        """How many tags of a kind there are."""
        return sum(name == tag for name, _ in self.tags)

    def values(self, *attributes: str, of: str | None = None) -> list[str]:
        """What stands in these attributes, of all tags or of one kind, in order."""
        return [
            attrs[name]
            for tag, attrs in self.tags
            if of in (None, tag)
            for name in attributes
            if name in attrs
        ]

    def links(self) -> list[str]:
        """All that the page leads to or loads."""
        return self.values("href", "xlink:href", "src")

    def headings(self) -> list[int]:
        """The levels of the headings."""
        return [int(tag[1]) for tag, _ in self.tags if re.fullmatch("h[1-6]", tag)]
