"""The order of suspicion, the filters, and what does not belong together."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reviews import make_pairs, sources_of, write_run

from tamis.data import write_pairs
from tamis.errors import ConfigError, DataError
from tamis.review.filters import Filters, filters_of, reading_order, select
from tamis.review.queue import load_queue
from tamis.types import Message


def load(run, *, wrong=None):
    sources = sources_of(run)
    return load_queue(sources.pairs, strength=sources.strength, wrong=wrong)


def write_wrong(path, values):
    table = pa.table({"id": list(values), "p_wrong": list(values.values())})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def test_lowest_strength_comes_first(run):
    queue = load(run)
    assert queue.ids == [f"p{number}" for number in range(8)]
    assert queue.mean_N.tolist() == [number - 3.0 for number in range(8)]
    assert queue.pairs([3, 1]) == [make_pairs()[2], make_pairs()[0]]
    assert queue.votes(1) == [-3.5, -2.5]
    assert queue.rank_of["p7"] == 8
    stored = pq.read_table(run / "vote" / "strength.parquet")["id"].to_pylist()
    assert [queue.ids[place] for place in np.argsort(queue.place_N)] == stored
    assert 3.5 < queue.vote_scale <= 4.5


def test_p_wrong_goes_before_strength(run):
    values = {f"p{number}": [0.1, 0.9, 0.9, 0.3][number % 4] for number in range(8)}
    queue = load(run, wrong=write_wrong(run / "wrong.parquet", values))
    assert queue.ids == ["p1", "p2", "p5", "p6", "p3", "p7", "p0", "p4"]
    assert queue.p_wrong_N.tolist() == [values[name] for name in queue.ids]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"p0": 0.5}, "p_wrong of id 'p1' is missing"),
        ({f"p{n}": 1.5 for n in range(8)}, "p_wrong of id 'p1' is 1.5"),
        ({f"p{n}": "high" for n in range(8)}, "expected text in id and numbers"),
    ],
)
def test_p_wrong_that_does_not_fit_is_named(run, values, problem):
    path = write_wrong(run / "wrong.parquet", values)
    with pytest.raises(DataError, match=problem):
        load(run, wrong=path)


def test_votes_on_other_pairs_are_refused(run):
    write_pairs(run / "data" / "pairs.parquet", make_pairs()[:5])
    with pytest.raises(DataError, match=r"strength\.parquet: id 'p5' is not in .*pairs\.parquet"):
        load(run)


def test_a_repeated_id_is_refused(run):
    path = run / "vote" / "strength.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    with pytest.raises(DataError, match="stands there twice"):
        load(run)
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(DataError, match="expected votes, found no row"):
        load(run)


def shown(run, verdicts=None, **filters):
    verdicts = verdicts or {}
    found = select(load(run), Filters(**filters), verdicts=verdicts, reviewer="Ada")
    return found.shown.tolist()


def test_filters_leave_what_fits(run):
    assert shown(run) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert shown(run, subset="odd") == [2, 4, 6, 8]
    assert shown(run, source="two") == [7, 8]
    assert shown(run, subset="none of them") == []
    assert shown(run, low=-1, high=1) == [3, 4, 5]
    assert shown(run, subset="odd", high=0) == [2, 4]
    verdicts = {"p0": {"Ada": "keep", "Bo": "flip"}, "p1": {"Bo": "tie"}, "p2": {"Ada": "drop"}}
    assert shown(run, verdicts, status="open") == [2, 4, 5, 6, 7, 8]
    assert shown(run, verdicts, status="done") == [1, 3]
    assert shown(run, verdicts, status="disputed") == [1]


def test_texts_are_searched_without_case(run):
    assert shown(run, text="QUESTION 3") == [4]
    assert shown(run, text="answer 5.") == [6]
    assert shown(run, text="p6") == [7]
    assert shown(run, text="(") == []
    assert shown(run, text="lazy") == [1, 2, 3, 4, 5, 6, 7, 8]


def test_search_finds_every_turn_in_every_batch(tmp_path):
    pairs = make_pairs(5000)
    last = pairs[4321]
    prompt = (Message("user", "needle"), Message("assistant", "hay"), *last.prompt)
    pairs[4321] = type(last)(last.id, prompt, last.chosen, last.rejected)
    queue = load(write_run(tmp_path / "run", pairs))
    assert np.flatnonzero(queue.search("Needle")).tolist() == [4321]
    assert np.flatnonzero(queue.search("answer 4999.")).tolist() == [4999]


def test_neighbours_skip_what_filters_leave_out(run):
    queue = load(run)
    verdicts = {"p1": {"Ada": "keep"}, "p2": {"Ada": "keep"}}

    def around(at, **filters):
        found = select(queue, Filters(**filters), verdicts=verdicts, reviewer="Ada", at=at)
        return found.previous, found.next

    assert around(1) == (None, 2)
    assert around(8) == (7, None)
    assert around(1, status="open") == (None, 4)
    assert around(4, status="open") == (3, 5)  # back to the pair just judged
    assert around(4, subset="odd") == (2, 6)
    assert around(3, subset="odd") == (2, 4)  # itself not among them
    assert around(5, order="spread")[1] == 3


def test_spread_visits_all_strengths_evenly():
    for num_pairs in (1, 2, 7, 64, 100):
        order = reading_order(num_pairs, "spread")
        assert sorted(order.tolist()) == list(range(1, num_pairs + 1))
    first = np.sort(reading_order(1000, "spread")[:50])
    assert np.diff(first).max() <= 34  # evenly would be 20


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"low": "x"}, "low: "),
        ({"low": "nan"}, "low: "),
        ({"low": "2", "high": "1"}, "low 2 is above high 1"),
        ({"status": "closed"}, "status: "),
        ({"colour": "red"}, "colour: "),
        ({"text": "x" * 201}, "text: "),
    ],
)
def test_filters_that_cannot_be_are_named(query, problem):
    with pytest.raises(ConfigError, match=problem):
        filters_of(query)


def test_filters_survive_the_way_through_an_address():
    from urllib.parse import parse_qsl

    filters = Filters(status="open", subset="a&b=ü ", low=-0.5, text="50%")
    assert filters_of(dict(parse_qsl(filters.query[1:]))) == filters
    assert filters_of({"status": "", "low": " ", "text": ""}) == Filters()
    assert Filters().query == ""
