"""What is printed is what was said."""

import pytest

from tamis.cli.screen import show_tables, watcher


@pytest.mark.parametrize("text", ["a vote [0.1, 0.2] of [/bold] voters", "in [red], :smile:"])
def test_a_notice_is_no_markup(capsys: pytest.CaptureFixture[str], text: str) -> None:
    watcher().say(text)
    assert capsys.readouterr().err == f"{text}\n"


def test_a_table_keeps_every_letter_on_a_narrow_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    show_tables([("a", ["benchmark", "score"], [["one(of_many)", "61.6[59.7,63.5]"]])])
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    for place, text in enumerate(["one(of_many)", "61.6[59.7,63.5]"], start=1):
        assert "".join(cells[place].strip() for cells in lines) == text
