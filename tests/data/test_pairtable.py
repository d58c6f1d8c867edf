"""Pairs that stay on disk are the pairs of a list, at a fraction of the memory."""

import random
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.data import (
    PAIR_SCHEMA,
    PairTable,
    pair_ids,
    read_pairs,
    select_pairs,
    write_pairs,
)
from tamis.data.pairtable import GROUPS_KEPT, spool_pairs
from tamis.data.tables import ROW_GROUP, batched
from tamis.errors import ConfigError, DataError
from tamis.types import Message, Pair

NUM = ROW_GROUP * (GROUPS_KEPT + 1) + 40


def pair(number: int, *, length: int = 4) -> Pair:
    answers = [(Message("assistant", f"{side}{number} " * length),) for side in "ab"]
    return Pair(f"p{number}", (), *answers, group=f"g{number % 7}", row=number)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return [pair(number) for number in range(NUM)]


@pytest.fixture(scope="module", params=["read", "spooled"])
def table(request, tmp_path_factory, pairs) -> PairTable:
    if request.param == "spooled":
        return spool_pairs(batched(pairs, 100))
    path = tmp_path_factory.mktemp("table") / "pairs.parquet"
    write_pairs(path, iter(pairs))
    return read_pairs(path)


@pytest.mark.parametrize(
    "part",
    [slice(None), slice(5, 9), slice(None, None, -1), slice(ROW_GROUP - 2, None, 3), slice(9, 9)],
)
def test_a_slice_is_that_of_a_list(table, pairs, part):
    assert table[part] == pairs[part]
    assert list(table[part]) == pairs[part]
    assert len(table[part]) == len(pairs[part])


def test_single_pairs_are_those_of_a_list(table, pairs):
    for index in (0, NUM - 1, -1, -NUM, ROW_GROUP, ROW_GROUP - 1):
        assert table[index] == pairs[index]
    for index in (NUM, -NUM - 1):
        with pytest.raises(IndexError):
            table[index]


def test_any_order_is_read_with_its_columns(table, pairs):
    order = [*range(NUM), 3, 3]
    random.Random(0).shuffle(order)
    view = table.select(order)
    expected = [pairs[index] for index in order]
    assert view == expected
    assert view.column("group").to_pylist() == [pair.group for pair in expected]
    assert pair_ids(view).to_pylist() == pair_ids(expected).to_pylist()
    assert (
        select_pairs(view, [5, 0]) == select_pairs(expected, [5, 0]) == [expected[5], expected[0]]
    )


def test_equal_means_the_same_pairs_in_the_same_order(table, pairs):
    assert table == table[:]
    assert table != table[::-1]
    assert table != pairs[:-1]
    assert table[:0] == []
    assert table != "pairs"


def test_memory_holds_a_few_row_groups(tmp_path, peak_memory):
    def peak(num_pairs: int) -> int:
        path = tmp_path / f"{num_pairs}.parquet"
        write_pairs(path, (pair(number, length=200) for number in range(num_pairs)))
        table = read_pairs(path)
        return peak_memory(lambda: [None for _ in table])

    few, many = (peak(num * ROW_GROUP) for num in (GROUPS_KEPT + 1, 3 * GROUPS_KEPT))
    assert few > 1000 * ROW_GROUP
    assert many < 1.1 * few


def test_what_is_wrong_in_a_later_row_group_is_told_when_it_is_read(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, [pair(number) for number in range(2 * ROW_GROUP)])
    metadata = pq.ParquetFile(path).metadata
    start = metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    table = read_pairs(path)
    assert table[0] == pair(0)
    with pytest.raises(DataError, match=r"pairs\.parquet: expected a Parquet file"):
        table[ROW_GROUP]


def test_a_pair_without_an_id_is_an_error(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, [pair(0), pair(1)])
    rows = pq.read_table(path).to_pylist()
    rows[1]["id"] = None
    nullable = pa.schema([field.with_nullable(True) for field in PAIR_SCHEMA])
    pq.write_table(pa.Table.from_pylist(rows, schema=nullable), path)
    with pytest.raises(DataError, match=r"pairs\.parquet: expected the columns of"):
        list(read_pairs(path))


def test_no_pairs_at_all(tmp_path: Path):
    write_pairs(tmp_path / "none.parquet", [])
    table = read_pairs(tmp_path / "none.parquet")
    assert list(table) == []
    assert len(table.column("id")) == 0
    assert table.select(np.array([], int)) == []


def test_no_room_for_pairs_is_an_error_of_the_users(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    many = (pair(number, length=20) for number in range(20 * NUM))
    try:
        with pytest.raises(ConfigError, match=r"cannot write .*File too large"):
            spool_pairs(batched(many, ROW_GROUP), folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
