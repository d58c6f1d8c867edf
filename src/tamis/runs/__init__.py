"""Files that survive a crash: atomic writes, resumable stages, fingerprints and progress."""

from tamis.runs.atomic import write_array, write_bytes, write_json, write_parquet, write_text
from tamis.runs.processes import is_main, num_processes
from tamis.runs.progress import progress
from tamis.runs.reading import fingerprint, read_json, read_parquet
from tamis.runs.stage import Stage, StageResult, Watcher, run_stage

__all__ = [
    "Stage",
    "StageResult",
    "Watcher",
    "fingerprint",
    "is_main",
    "num_processes",
    "progress",
    "read_json",
    "read_parquet",
    "run_stage",
    "write_array",
    "write_bytes",
    "write_json",
    "write_parquet",
    "write_text",
]
