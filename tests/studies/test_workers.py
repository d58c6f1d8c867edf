"""Parts of a study in several processes: all are done, and nobody outlives the first process."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from laborious import end_at_once, fail, linger, note

from tamis.errors import ConfigError
from tamis.studies.workers import MOST, Workers, num_processes


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def pids_in(folder: Path, *, num: int) -> list[int]:
    """Wait for so many processes, and return them."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = [int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")]
        if len(found) == num:
            return found
        time.sleep(0.05)
    raise AssertionError(f"expected {num} processes")


def test_items_are_shared_by_quiet_processes_with_their_part_of_the_cores(tmp_path, capfd):
    told: list[int] = []
    with Workers(2) as workers:
        workers.each(partial(note, tmp_path), range(6), advance=told.append)
    found = [path.read_text().split() for path in tmp_path.glob("item-*")]
    assert len(found) == 6
    assert told == [1] * 6
    assert len({pid for pid, _ in found} - {str(os.getpid())}) == 2
    assert {int(num) for _, num in found} == {max(1, torch.get_num_threads() // 2)}
    assert "nobody should see" not in "".join(capfd.readouterr())


def test_one_process_does_all_itself(tmp_path):
    told: list[int] = []
    with Workers(1) as workers:
        workers.each(lambda item: told.append(item), [3, 1, 2])
        with pytest.raises(ConfigError, match="item 1 is not"):
            workers.each(partial(fail, tmp_path), range(3))
    assert told == [3, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["item-0"]


def test_an_error_ends_the_work_and_is_the_one_that_was_raised(tmp_path):
    with pytest.raises(ConfigError, match="item 1 is not to be had"), Workers(2) as workers:
        workers.each(partial(fail, tmp_path), [1])
    with pytest.raises(ConfigError, match="perhaps for lack of memory"), Workers(2) as workers:
        workers.each(end_at_once, [0])


def test_an_error_here_ends_those_who_work(tmp_path):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Workers(2) as workers:
        workers.each(partial(linger, tmp_path), range(2), advance=interrupt)
    assert not any(map(is_alive, pids_in(tmp_path, num=2)))


def test_nobody_outlives_the_first_process(tmp_path):
    code = (
        "from functools import partial\nfrom pathlib import Path\nfrom laborious import linger\n"
        "from tamis.studies.workers import Workers\n"
        "if __name__ == '__main__':\n    with Workers(2) as workers:\n"
        f"        workers.each(partial(linger, Path({str(tmp_path)!r})), [1, 2])\n"
    )
    script = tmp_path / "first.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen([sys.executable, str(script)], env=environment)
    pids = pids_in(tmp_path, num=2)
    first.kill()
    first.wait()
    end = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))


def test_there_is_a_process_for_each_core_and_its_memory_but_not_many(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    for num_threads, num_gib, num in (
        (1, 99, 1),
        (2, 99, 2),
        (64, 99, MOST),
        (2, 19, 1),
        (2, 4, 1),
    ):
        sizes = {"SC_PHYS_PAGES": num_gib, "SC_PAGE_SIZE": 1 << 30}
        monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
        monkeypatch.setattr(torch, "get_num_threads", lambda num_threads=num_threads: num_threads)
        assert num_processes() == num
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert num_processes() == 1
