"""What a call holds in memory."""

import gc
import tracemalloc
from collections.abc import Callable

import pytest


@pytest.fixture
def peak_memory() -> Callable[[Callable[[], object]], int]:
    """Measures the highest number of bytes that Python and NumPy held during a call."""

    def peak(call: Callable[[], object]) -> int:
        gc.collect()
        tracemalloc.start()
        try:
            call()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return peak
