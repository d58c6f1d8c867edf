"""What is said where a package of an extra is missing; a fresh process has nothing imported yet."""

import subprocess
import sys

import pytest

from tamis.cli.extras import needing
from tamis.errors import ConfigError

WITHOUT_TRL = """
import sys
sys.modules["trl"] = None
from tamis.cli import main
for line in sys.stdin.read().splitlines():
    try:
        main(line.split("|"))
    except SystemExit as end:
        print("code", end.code, file=sys.stderr, flush=True)
"""


def test_an_extra_is_named():
    told = r"this needs uvicorn: pip install 'tamis\[serve\]'"
    with pytest.raises(ConfigError, match=told), needing("serve", what="this"):
        raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn.main")


def test_what_no_extra_installs_is_an_error_of_ours():
    with pytest.raises(ModuleNotFoundError), needing("serve", what="this"):
        raise ModuleNotFoundError("No module named 'tamis.nothing'", name="tamis.nothing")


def test_every_command_that_trains_policies_names_what_is_missing(tmp_path):
    commands = (
        "align|pairs.parquet|--policy|none",
        "rl|prompts.jsonl|--policy|none|--rm|none",
        "iterate|--demo",
    )
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRL],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    told = [line for line in done.stderr.splitlines() if line.startswith(("error", "code"))]
    end = "needs trl: pip install 'tamis[trl]'"
    assert told[::2] == [
        f"error: {what} {end}"
        for what in ("aligning a policy", "reinforcement learning", "iterated RLHF")
    ]
    assert told[1::2] == ["code 2"] * 3
    assert not list(tmp_path.iterdir())
