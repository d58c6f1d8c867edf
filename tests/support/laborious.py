"""What processes of a study are asked to do in tests: another process has to find it by name."""

import os
import signal
import time
from pathlib import Path

import torch

from tamis.errors import ConfigError
from tamis.runs import read_json, write_json
from tamis.studies.overoptimise.looks import Look, RLTask


def note(folder: Path, item: int) -> None:
    """Write who did an item, once there is somebody else at work too."""
    (folder / f"pid-{os.getpid()}").touch()
    end = time.monotonic() + 60
    while len(list(folder.glob("pid-*"))) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    print("a word that nobody should see")
    (folder / f"item-{item}").write_text(f"{os.getpid()} {torch.get_num_threads()}")


def fail(folder: Path, item: int) -> None:
    if item == 1:
        raise ConfigError("item 1 is not to be had")
    (folder / f"item-{item}").touch()


def end_at_once(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def linger(folder: Path, item: int) -> None:
    """Be at work for long, but for item 0, once there is somebody else at work too."""
    (folder / f"pid-{os.getpid()}").touch()
    while item > 0 or len(list(folder.glob("pid-*"))) < 2:
        time.sleep(0.01)


class Looking:
    """Reinforces nothing, but keeps who looked at which proxy."""

    def __call__(self, task: RLTask) -> list[Look]:
        """Return two looks, of which the second tells the process."""
        path = task.folder / "looks.json"
        if not path.is_file():
            assert (task.proxy / "model.safetensors").is_file()
            write_json(path, os.getpid())
        return [Look(0, 0.0, [0.0], [0.0]), Look(1, 0.1, [0.5], [float(read_json(path))])]
