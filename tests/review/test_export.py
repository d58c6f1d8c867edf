"""What people decided reaches training and calibration."""

import json

import pyarrow.parquet as pq
import pytest
from reviews import sources_of

from tamis.data import read_pairs
from tamis.denoise.tables import read_verdicts, write_verdicts
from tamis.errors import ConfigError, DataError
from tamis.models.config import ModelConfig
from tamis.models.tokenise import load_tokenizer
from tamis.review.agreement import couples, mean_kappa
from tamis.review.export import TRUSTED_SCHEMA, export, review_verdict, trusted_label
from tamis.review.queue import load_queue
from tamis.train.dataset import training_set
from tamis.types import Verdict

SAID = {
    "p0": {"Ada": "flip", "Bo": "flip"},
    "p1": {"Ada": "keep", "Bo": "flip"},
    "p2": {"Ada": "tie"},
    "p3": {"Ada": "drop", "Bo": "keep"},
    "elsewhere": {"Ada": "keep"},
}


def write(run, said=SAID, base=None):
    sources = sources_of(run)
    queue = load_queue(sources.pairs, strength=sources.strength)
    return export(queue, said, out=sources.out, base=base)


@pytest.mark.parametrize(
    ("choices", "target", "weight"),
    [
        (["keep"], 1.0, 1.0),
        (["flip"], 0.0, 1.0),
        (["tie"], 0.5, 1.0),
        (["drop"], 1.0, 0.0),
        (["keep", "flip"], 0.5, 1.0),
        (["keep", "keep", "flip", "tie"], 0.625, 1.0),
        (["flip", "drop"], 0.0, 0.0),  # as many call it of no use as do not
        (["flip", "keep", "flip", "flip", "drop"], 0.25, 1.0),
        (["drop", "drop", "flip"], 0.0, 0.0),
    ],
)
def test_reviewers_come_to_one_verdict(choices, target, weight):
    assert review_verdict("p", choices) == Verdict("p", target, 0.0, weight, "review")


def test_a_trusted_label_is_the_mean_of_those_who_spoke_of_it():
    assert trusted_label(["keep", "drop", "tie"]) == (0.75, 2)
    assert trusted_label(["drop"]) is None


def test_every_pair_gets_a_verdict_and_the_base_holds_for_the_rest(run):
    base = [Verdict("p4", 0.9, -1.5, 0.5, "soft"), Verdict("p0", reason="keep")]
    write_verdicts(run / "base.parquet", base)
    report = write(run, base=run / "base.parquet")
    found = read_verdicts(run / "review" / "verdicts.parquet")
    stored = pq.read_table(run / "vote" / "strength.parquet")["id"].to_pylist()
    assert [verdict.id for verdict in found] == stored
    assert {verdict.id: verdict for verdict in found} == {
        "p0": Verdict("p0", 0.0, reason="review"),
        "p1": Verdict("p1", 0.5, reason="review"),
        "p2": Verdict("p2", 0.5, reason="review"),
        "p3": Verdict("p3", 1.0, weight=0.0, reason="review"),
        "p4": base[0],
        **{name: Verdict(name) for name in ("p5", "p6", "p7")},
    }
    assert report == json.loads((run / "review" / "report.json").read_text())
    assert report["choices"] == {"keep": 2, "flip": 3, "tie": 1, "drop": 1}
    assert report["reviewers"] == {"Ada": 4, "Bo": 3}
    counts = ("num_pairs", "num_reviewed", "num_flipped", "num_dropped", "num_disputed")
    assert [report[name] for name in counts] == [8, 4, 1, 1, 2]
    assert (report["num_trusted"], report["num_other_pairs"]) == (4, 1)


def test_trusted_labels_are_a_table_of_ids_and_gold(run):
    write(run)
    table = pq.read_table(run / "review" / "trusted.parquet")
    assert table.schema.equals(TRUSTED_SCHEMA)
    assert table.to_pylist() == [
        {"id": "p0", "gold": 0.0, "num_reviewers": 2},
        {"id": "p1", "gold": 0.5, "num_reviewers": 2},
        {"id": "p2", "gold": 0.5, "num_reviewers": 1},
        {"id": "p3", "gold": 1.0, "num_reviewers": 1},
    ]
    write(run, {"p0": {"Ada": "drop"}})
    assert pq.read_table(run / "review" / "trusted.parquet").num_rows == 0


def test_training_reads_the_verdicts(run, tiny_bert):
    write(run)
    data = training_set(
        read_pairs(run / "data" / "pairs.parquet"),
        read_verdicts(run / "review" / "verdicts.parquet"),
        tokenizer=load_tokenizer(ModelConfig(path=tiny_bert)),
        max_length=64,
    )
    assert (data.num_swapped, len(data.encoded)) == (1, 7)
    assert sorted(data.target_N.tolist()) == [0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert [item.detail for item in data.left_out] == ["p3: review"]


def test_what_cannot_be_exported_is_told(run):
    with pytest.raises(ConfigError, match="no pair has been judged"):
        write(run, {"elsewhere": {"Ada": "keep"}})
    assert not (run / "review" / "verdicts.parquet").exists()
    write_verdicts(run / "base.parquet", [Verdict("elsewhere")])
    with pytest.raises(DataError, match="'elsewhere' is not among the 8 pairs"):
        write(run, base=run / "base.parquet")


def test_agreement_counts_pairs_that_both_judged():
    said = {
        f"p{number}": {"Ada": one, "Bo": other}
        for number, (one, other) in enumerate(
            [("keep", "keep")] * 4 + [("flip", "flip")] * 2 + [("keep", "flip")] * 2
        )
    }
    said["p0"]["Cy"] = "keep"
    said["p1"]["Cy"] = "keep"
    said["q"] = {"Cy": "tie"}
    found = {(couple.first, couple.second): couple for couple in couples(said)}
    ada_bo = found["Ada", "Bo"]
    assert (ada_bo.num_pairs, ada_bo.agreement_frac) == (8, 0.75)
    # by hand: expected = 6/8 * 4/8 + 2/8 * 4/8 = 0.5, kappa = (0.75 - 0.5) / (1 - 0.5)
    assert ada_bo.kappa == pytest.approx(0.5)
    assert (found["Ada", "Cy"].num_pairs, found["Ada", "Cy"].kappa) == (2, None)
    assert mean_kappa(couples(said)) == pytest.approx(0.5)
    assert couples({"p": {"Ada": "keep"}, "q": {"Bo": "keep"}}) == []
    assert mean_kappa([]) is None
