"""Several processes that run the same command: `accelerate launch` started them."""

from __future__ import annotations

import atexit
import gc
import os
import time
from datetime import timedelta
from functools import cache
from typing import TypeVar

Value = TypeVar("Value")

LONGEST_STAGE = timedelta(days=30)
LEAVING_S = 0.2


def num_processes() -> int:
    """Return how many processes were launched together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Tell whether this process is the one that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def from_main(value: Value) -> Value:
    """Return the main process's value, once all processes are here.

    Without a launcher it is ``value`` itself. The others wait as long as a stage may take.
    """
    if num_processes() == 1:
        return value
    import torch
    from accelerate import PartialState
    from torch import distributed

    leave_in_order()
    PartialState(cpu=not torch.accelerator.is_available(), timeout=LONGEST_STAGE)
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


@cache
def leave_in_order() -> None:
    """Let the threads of gloo come to rest before this process ends.

    Such a thread may be the last to hold a tensor of a finished operation. Letting go of it takes
    the interpreter's lock, and a thread that asks for the lock while the interpreter ends is ended
    in a place where C++ can only abort (pytorch issue 190489).
    """
    atexit.register(_leave)


def _leave() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
        gc.collect()  # a group that nothing holds any more waits for its threads
        time.sleep(LEAVING_S)  # for the threads of one that is still held: without the lock
