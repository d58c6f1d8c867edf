"""What is printed is what was said."""

import pytest

from tamis.cli.screen import watcher


@pytest.mark.parametrize("text", ["a vote [0.1, 0.2] of [/bold] voters", "in [red], :smile:"])
def test_a_notice_is_no_markup(capsys: pytest.CaptureFixture[str], text: str) -> None:
    watcher().say(text)
    assert capsys.readouterr().err == f"{text}\n"
