"""A stage of a run: a folder that is complete, or is worked on again until it is.

A stage is known by its *key*, a hash of its name, its configuration and the fingerprints of its
inputs. ``stage.json`` is written last and holds the fingerprints of the outputs, so that a record
that fits means a complete stage. Scratch goes to ``work/``, which outlives a crash and is wiped
when the key changes: work that was interrupted is picked up, work for other settings is not. Old
outputs stay until new ones are complete.

Parts of a result that other settings share, such as the votes of single voters, may be kept in
``members/`` beside the outputs, under a ``key`` of their own; a stage never removes them.

Where several processes were launched, the main one does all of this; the others take part in the
stages that are computed together, in the same scratch directory, and wait in all others.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from tamis.errors import ConfigError, TamisError
from tamis.runs.atomic import write_json, write_text
from tamis.runs.processes import from_main, is_main
from tamis.runs.reading import fingerprint, read_json

RECORD = "stage.json"
WORK, OUT, KEPT, KEY, LOCK = "work", "out", "members", "key", ".lock"
LIBRARIES = ("tamis", "torch", "transformers", "accelerate", "peft", "datasets", "numpy", "pyarrow")


@dataclass(frozen=True, slots=True)
class Stage:
    """What identifies one stage of one run.

    ``config`` is anything JSON can hold; ``inputs`` maps a label to a fingerprint. ``notes`` are
    recorded and do not identify the stage (paths, for instance).
    """

    directory: Path
    config: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The stage's name: the last part of its directory."""
        return self.directory.name

    @property
    def key(self) -> str:
        """The hash that changes when the result may change."""
        content = {"stage": self.name, "config": self.config, "inputs": self.inputs}
        text = json.dumps(content, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StageResult:
    """A finished stage; ``fresh`` is false where an earlier run had already finished it."""

    directory: Path
    fresh: bool
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Watcher:
    """Is told what a run does: ``begin`` before a stage, ``end`` after it, ``say`` otherwise."""

    begin: Callable[[str], None]
    end: Callable[[str, StageResult], None]
    say: Callable[[str], None]


Produce = Callable[[Path, Path], None]


def run_stage(
    stage: Stage, produce: Produce, *, by: Literal["main", "all"] = "main"
) -> StageResult:
    """Run ``produce(out, work)`` unless the stage is complete with the same key.

    ``produce`` writes its outputs into ``out``, an empty directory. When it returns, they replace
    the outputs of the last run in ``stage.directory``; when it fails, those stay as they are. What
    it finds in the scratch directory ``work`` an interrupted run with the same key has left.

    Of several processes that were launched together, the main one runs ``produce``, or all do
    (``by``); what the others write into their ``out`` is thrown away. All return when the stage is
    complete.

    Raises:
        ConfigError: the directory cannot be written, holds something else than a stage, or is in
            use by another process.
    """
    if not is_main():
        return _take_part(stage, produce, by=by)
    directory, work = stage.directory, stage.directory / WORK
    new = [path for path in (directory, directory.parent) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK, timeout=0).acquire()
    except Timeout as error:
        raise ConfigError(f"{directory}: another process is working on this stage") from error
    except OSError as error:
        raise ConfigError(f"{directory}: cannot write there: {error.strerror or error}") from error
    with lock:
        for half_written in directory.glob(f".{RECORD}.*"):
            half_written.unlink()
        if _is_complete(stage):
            _discard(work)
            from_main(Turn.COMPLETE)
            return StageResult(directory, fresh=False, elapsed_s=0.0)
        _prepare(stage)
        from_main(Turn.PREPARED)
        started = time.monotonic()
        try:
            produce(work / OUT, work)
        except TamisError:
            _leave_no_trace(stage, new=new)
            raise
        elapsed_s = time.monotonic() - started
        _publish(stage, elapsed_s)
        _discard(work)
        from_main(Turn.COMPLETE)
    return StageResult(directory, fresh=True, elapsed_s=elapsed_s)


class Turn(Enum):
    """What the main process tells the others of a stage."""

    PREPARED = "prepared"
    COMPLETE = "complete"


def _take_part(stage: Stage, produce: Produce, *, by: Literal["main", "all"]) -> StageResult:
    started = time.monotonic()
    if from_main(Turn.COMPLETE) is Turn.COMPLETE:
        return StageResult(stage.directory, fresh=False, elapsed_s=0.0)
    if by == "all":
        with tempfile.TemporaryDirectory() as out:
            produce(Path(out), stage.directory / WORK)
    from_main(Turn.COMPLETE)
    return StageResult(stage.directory, fresh=True, elapsed_s=time.monotonic() - started)


def _is_complete(stage: Stage) -> bool:
    record_path = stage.directory / RECORD
    if not record_path.is_file():
        return False
    record = read_json(record_path)
    return record.get("key") == stage.key and all(
        (stage.directory / name).is_file() and fingerprint(stage.directory / name) == digest
        for name, digest in record["outputs"].items()
    )


def _prepare(stage: Stage) -> None:
    work, kept = stage.directory / WORK, stage.directory / KEPT
    key_file = work / KEY
    ours = any(path.is_file() for path in (stage.directory / RECORD, key_file, kept / KEY))
    strangers = [p for p in stage.directory.iterdir() if p.name != LOCK and p not in (work, kept)]
    for folder in (work, kept):
        if folder.is_dir():  # what the very first write of the key may leave is no stranger
            strangers += [p for p in folder.iterdir() if not p.name.startswith(f".{KEY}.")]
    if strangers and not ours:
        raise ConfigError(
            f"{stage.directory}: expected an empty folder or an earlier {stage.name} stage, "
            f"found {strangers[0].name!r}; choose another --out"
        )
    same = key_file.is_file() and key_file.read_text() == stage.key
    if not same:
        # The key of no stage: a crash from here on leaves a folder of ours, to be wiped again.
        write_text(key_file, "")
    for entry in work.iterdir():
        if entry != key_file and (not same or entry.name == OUT):
            _remove(entry)
    (work / OUT).mkdir()
    write_text(key_file, stage.key)


def _publish(stage: Stage, elapsed_s: float) -> None:
    """Move the outputs to their place, and only then remove what is left of the last run.

    On the way the record has no key, so that the stage is not complete after a crash, and names
    all files of both runs, so that none is forgotten.
    """
    out, record_path = stage.directory / WORK / OUT, stage.directory / RECORD
    old = read_json(record_path)["outputs"] if record_path.is_file() else {}
    files = sorted(path for path in out.rglob("*") if path.is_file())
    outputs = {path.relative_to(out).as_posix(): fingerprint(path) for path in files}
    write_json(record_path, {"key": "", "outputs": {**old, **outputs}})
    for name in outputs:
        target = stage.directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (out / name).replace(target)
    for name in set(old) - set(outputs):
        (stage.directory / name).unlink(missing_ok=True)
        _remove_empty((stage.directory / name).parent)
    _write_record(stage, outputs=outputs, elapsed_s=elapsed_s)


def _leave_no_trace(stage: Stage, *, new: list[Path]) -> None:
    """After an error of the user's: keep scratch worth resuming, remove empty folders we made."""
    work = stage.directory / WORK
    _remove(work / OUT)
    if {path.name for path in work.iterdir()} <= {KEY}:
        _discard(work)
    if new and {path.name for path in stage.directory.iterdir()} <= {LOCK}:
        (stage.directory / LOCK).unlink(missing_ok=True)
        for path in new:
            _remove_empty(path)


def _remove_empty(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def _discard(work: Path) -> None:
    """Remove the scratch directory of a finished stage; half removed, it belongs to no stage."""
    if work.is_dir():
        (work / KEY).unlink(missing_ok=True)
        shutil.rmtree(work)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _write_record(stage: Stage, *, outputs: Mapping[str, str], elapsed_s: float) -> None:
    record = {
        "stage": stage.name,
        "key": stage.key,
        "config": stage.config,
        "inputs": stage.inputs,
        "notes": stage.notes,
        "outputs": outputs,
        "versions": {"python": platform.python_version(), **_versions()},
        "elapsed_s": round(elapsed_s, 3),
    }
    write_json(stage.directory / RECORD, record)


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
