"""Training in two processes that talk through gloo, started without a launcher, to be killed."""

import gc
import multiprocessing
import os
import weakref
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from dying import die_when
from ports import port_of, reserved

from tamis.models.config import ModelConfig
from tamis.train.config import TrainConfig
from tamis.train.fit import fit
from tamis.types import Pair, Verdict

NUM_PROCESSES, LONGEST_S = 2, 900

Death = tuple[Path, float]  # what is there, and the seconds that a process then lives on


def start(
    path: Path,
    pairs: list[Pair],
    *,
    model: ModelConfig,
    train: TrainConfig,
    verdicts: list[Verdict],
    deaths: Mapping[int, Death] | None = None,
) -> list[BaseProcess]:
    """Start processes that train together in ``path/work`` and write ``path/rm``.

    Those with a death kill themselves, see `die_when`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tamis.train.fit"])  # imported once for all processes
    place = reserved()
    arguments = {"pairs": pairs, "verdicts": verdicts, "model": model, "train": train}
    arguments |= {"seed": 0, "work": path / "work", "out": path / "rm"}
    processes: list[BaseProcess] = [
        context.Process(
            target=_fit, args=(rank, port_of(place), arguments, (deaths or {}).get(rank))
        )
        for rank in range(NUM_PROCESSES)
    ]
    weakref.finalize(processes[0], place.close)  # nobody else gets the port while they live
    for process in processes:
        process.start()
    return processes


def finish(processes: list[BaseProcess]) -> list[int | None]:
    """Wait for processes, end those that hang, and return the exit codes."""
    for process in processes:
        process.join(LONGEST_S)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def _fit(rank: int, port: int, arguments: dict[str, Any], death: Death | None) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(NUM_PROCESSES),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    gc.freeze()  # what was imported is not looked through at the end of every training
    torch.set_num_threads(1)
    if death is not None:
        place, moment_s = death
        # few acts: the last process of several hardly writes
        die_when(place.exists, moment_s=moment_s, most_acts=2)
    fit(**arguments)
