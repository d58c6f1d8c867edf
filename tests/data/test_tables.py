"""What is written to Parquet comes back equal."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.data import PAIR_SCHEMA, read_dropped, read_pairs, write_dropped, write_pairs
from tamis.errors import DataError
from tamis.types import Dropped, Message, Pair, Votes

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TURNS = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), TEXT), max_size=3
).map(tuple)
COUNT = st.integers(0, 2**40)
PAIRS = st.builds(
    Pair,
    id=TEXT,
    prompt=TURNS,
    chosen=TURNS,
    rejected=TURNS,
    group=TEXT,
    split=TEXT,
    source=TEXT,
    subset=TEXT,
    margin=st.none() | st.floats(allow_nan=False),
    votes=st.none() | st.builds(Votes, COUNT, COUNT, COUNT),
    gold=st.none() | st.floats(0, 1),
    row=st.integers(-1, 2**40),
)


@given(pairs=st.lists(PAIRS, max_size=4))
@settings(
    max_examples=60,
    deadline=None,  # a write takes as long as the machine is busy
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_pairs_round_trip(tmp_path: Path, pairs: list[Pair]) -> None:
    path = tmp_path / "pairs.parquet"
    write_pairs(path, pairs)
    assert read_pairs(path) == pairs
    assert pq.read_schema(path).names == PAIR_SCHEMA.names


def test_dropped_rows_round_trip(tmp_path: Path) -> None:
    dropped = [Dropped(3, "empty", "chosen: …"), Dropped(4, "tie")]
    write_dropped(tmp_path / "dropped.parquet", dropped)
    assert read_dropped(tmp_path / "dropped.parquet") == dropped
    write_dropped(tmp_path / "none.parquet", [])
    assert read_dropped(tmp_path / "none.parquet") == []


def test_another_table_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(DataError, match=r"other\.parquet: column 'prompt' is missing"):
        read_pairs(path)
    names = {name: ["text"] for name in PAIR_SCHEMA.names}
    pq.write_table(pa.table(names), path)
    with pytest.raises(
        DataError, match=r"other\.parquet: expected the columns of \['id', 'prompt'"
    ):
        read_pairs(path)
    with pytest.raises(DataError, match="no such file"):
        read_dropped(tmp_path / "missing.parquet")
