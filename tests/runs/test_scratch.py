"""Scratch files: what is written is there, in order, and nothing stays behind.

Shapes: M rows, U distinct ones.
"""

import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.errors import ConfigError
from tamis.runs.scratch import RaggedWriter, distinct, gather, scratch_array, write_ragged

ROWS = st.lists(st.lists(st.integers(0, 2), max_size=20), max_size=12)
ANY_FOLDER = settings(
    max_examples=60,
    deadline=None,  # a write takes as long as the machine is busy
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@given(rows=ROWS)
@ANY_FOLDER
def test_rows_come_back(tmp_path: Path, rows: list[list[int]]) -> None:
    found = write_ragged(rows, dtype=np.int32, folder=tmp_path / "new")
    assert [found[row].tolist() for row in range(len(found))] == rows
    assert found.length_M.tolist() == [len(row) for row in rows]
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("shortest_first", [True, False])
@given(rows=ROWS)
@ANY_FOLDER
def test_distinct_rows_are_those_of_a_sorted_set(
    shortest_first: bool, rows: list[list[int]]
) -> None:
    found = distinct(write_ragged(rows, dtype=np.int32), shortest_first=shortest_first)
    expected = sorted(
        {tuple(row) for row in rows}, key=lambda row: (len(row) if shortest_first else 0, row)
    )
    assert [tuple(rows[at]) for at in found.first_U] == expected
    assert [expected[which] for which in found.which_M] == [tuple(row) for row in rows]


def test_texts_are_in_the_order_of_their_characters() -> None:
    texts = ["", "a" * 40, "a" * 41, "é", "z", "a" * 40 + "\ud800", "😀", "\uffff", "a\0"]
    rows = [np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8) for text in texts]
    found = distinct(write_ragged(rows, dtype=np.uint8), shortest_first=False)
    assert [texts[at] for at in found.first_U] == sorted(texts)


@given(items=st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=9))))
@ANY_FOLDER
def test_values_of_a_key_come_together_in_order(items: list[tuple[str, str]]) -> None:
    expected: dict[str, list[str]] = {}
    for key, value in items:
        expected.setdefault(key, []).append(value)
    assert list(gather(items)) == list(expected.values())


@pytest.mark.parametrize("shape", [(3, 2), (0, 2), (2, 0, 3)])
def test_an_array_on_disk_is_zeros_to_write_to(tmp_path: Path, shape: tuple[int, ...]) -> None:
    on_disk = scratch_array(shape, dtype=np.float32, folder=tmp_path)
    in_memory = scratch_array(shape, dtype=np.float32)
    np.testing.assert_array_equal(on_disk, in_memory)
    on_disk += 1
    assert on_disk.sum() == on_disk.size
    assert on_disk.dtype == np.float32
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write .*file"):
        scratch_array((2,), dtype=np.float32, folder=tmp_path / "file")
    with pytest.raises(ConfigError, match=r"cannot write .*file"):
        RaggedWriter(dtype=np.int32, folder=tmp_path / "file")


def test_no_room_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(ConfigError, match="cannot write"):
            scratch_array((1_000_000,), dtype=np.float32, folder=tmp_path)
        with pytest.raises(ConfigError, match="cannot write"):
            write_ragged((range(1000) for _ in range(1000)), dtype=np.int32, folder=tmp_path)
        with pytest.raises(ConfigError, match="cannot write"):
            list(gather((str(n), "text" * 250) for n in range(2000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
