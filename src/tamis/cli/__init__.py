"""The command line: options in, stages run, one clear error and exit code 2 where that fails."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from tamis.cli.app import app
from tamis.cli.screen import show_error
from tamis.errors import TamisError
from tamis.runs.memory import keep_freed_memory

DEBUG = "--debug"
INTERRUPTED = 130

# Read when torch is first imported. Threads that spin while they wait bring two processes on two
# cores to a crawl (a vote of seconds took minutes), and cost little where a machine is idle.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# PEFT imports bitsandbytes wherever it is installed, and that asks for a package that makes 4-bit
# inference on a CPU faster: of no use to a command that has nothing to do with it.
logging.getLogger("bitsandbytes.backends.cpu").setLevel(logging.ERROR)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process.

    Exit codes: 0 done, 1 a defect of Tamis, 2 bad input or options, 130 interrupted.
    """
    keep_freed_memory()
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in given
    try:
        app(args=[argument for argument in given if argument != DEBUG], prog_name="tamis")
    except TamisError as error:
        if debug:
            raise
        show_error(str(error))
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # Typer has turned Ctrl-C into it without a word
            show_error("interrupted; the same command goes on where it stopped")
        raise
    except Exception as error:
        if debug:
            raise
        show_error(f"internal error: {type(error).__name__}: {error}; --debug shows where")
        sys.exit(1)
