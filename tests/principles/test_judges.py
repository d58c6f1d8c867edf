import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis import plugins
from tamis.errors import ConfigError, DataError
from tamis.principles import Principle
from tamis.principles.judges.length import judge as by_length
from tamis.principles.judges.scores import judge as by_scores


def test_every_judge_is_found_by_its_name():
    assert {"endpoint", "length", "scores"} <= set(plugins.available("judge"))


def test_length_wants_what_the_principle_wants(make_pairs, make_task, lists):
    pairs = make_pairs(4)
    found = by_length(pairs, lists, task=make_task(4, 2))
    delta = [len(p.chosen[0].content) - len(p.rejected[0].content) for p in pairs]
    assert found.score_12_NP[:, 0].tolist() == [-d for d in delta]
    assert found.score_21_NP[:, 1].tolist() == delta
    assert found.known_NP.all()


def test_length_knows_no_other_principle(make_pairs, make_task, lists):
    kind = Principle("kind", ("Be kind.",), ("Be rude.",))
    found = by_length(make_pairs(3), [kind, lists[0]], task=make_task(3, 2))
    assert found.known_NP.tolist() == [[False, True]] * 3
    with pytest.raises(ConfigError, match="knows the principles concise and detailed; found kind"):
        by_length(make_pairs(3), [kind], task=make_task(3, 1))


@pytest.fixture
def judged_file(tmp_path):
    """Writes rows to scores.jsonl and returns its path."""

    def write(*rows):
        path = tmp_path / "scores.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def row(id_="p0", principle="concise", **values):
    return {"id": id_, "principle": principle, **(values or {"score_12": 1.5, "score_21": 0.5})}


def test_scores_of_a_file(make_pairs, make_task, lists, judged_file):
    path = judged_file(
        row(),
        row("p2", margin=-3),
        row("p1", "detailed", score_12="2", score_21=-1, margin=None),
        row("other"),
        row("p0", "kind"),
    )
    task = make_task(3, 2, judge="scores", scores=path)
    found = by_scores(make_pairs(3), lists, task=task)
    nan = np.nan
    np.testing.assert_array_equal(found.score_12_NP, [[1.5, nan], [nan, 2.0], [-3.0, nan]])
    np.testing.assert_array_equal(found.score_21_NP, [[0.5, nan], [nan, -1.0], [-3.0, nan]])
    assert found.known_NP.tolist() == [[True, False], [False, True], [True, False]]
    assert found.report == {"num_rows_of_other_pairs": 1, "other_principles": {"kind": 1}}


def test_a_table_of_scores_is_read_too(make_pairs, make_task, lists, tmp_path):
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.Table.from_pylist([row(margin=0.25)]), path)
    task = make_task(1, 2, judge="scores", scores=str(path))
    assert by_scores(make_pairs(1), lists, task=task).score_21_NP[0, 0] == 0.25


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (row(score_12=1.0), r"row 1 \(the first is 0\): score_21 is None; expected a finite"),
        (row(margin="much"), "margin is 'much'"),
        (row(margin=True), "margin is True"),
        (row(margin=float("nan")), "margin is nan"),
        (row(margin=1.0, score_12=1.0), "expected score_12 and score_21 or margin, found all"),
        (row(id_=3), "id is 3; expected a text"),
        (row(principle=None), "principle is None"),
        (row(), "pair 'p0' and 'concise' were there before"),
    ],
)
def test_a_wrong_row_is_named(make_pairs, make_task, lists, judged_file, wrong, said):
    task = make_task(3, 2, judge="scores", scores=judged_file(row(), wrong))
    with pytest.raises(DataError, match=said):
        by_scores(make_pairs(3), lists, task=task)


def test_a_file_about_other_pairs_is_refused(make_pairs, make_task, lists, judged_file):
    task = make_task(3, 2, judge="scores", scores=judged_file(row("x"), row("p0", "kind")))
    with pytest.raises(DataError, match="1 rows name other pairs, 1 other principles"):
        by_scores(make_pairs(3), lists, task=task)
