import json
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.data.clean import _FIT_DETAILS
from tamis.errors import DataError
from tamis.report.blocks import Exhibits, Fold, Picture, Table, Text
from tamis.report.charts import Spread
from tamis.report.sections import (
    agreement,
    before_after,
    benchmarks,
    convergence,
    data,
    denoise,
    detection,
    dropped,
    made,
    spread,
    strength,
    study,
    suspicious,
    training,
)
from tamis.report.sections.study import judge
from tamis.types import Interval


@pytest.fixture
def run(tmp_path, make_run):
    return make_run(tmp_path / "run")


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def notes(section):
    return [
        block.text for block in section.blocks if isinstance(block, Text) and block.tone == "note"
    ]


def tables(section):
    return [block for block in section.blocks if isinstance(block, Table)]


def test_strength_counts_the_pairs_below_zero_and_the_wrong_among_them(run):
    found = strength.section(run)
    assert found.data["num_negative"] == 3
    assert found.data["negative_frac"] == 0.25
    assert found.data["wrong_label_frac"] == {"below_zero": 1.0, "above_zero": 0.0}
    assert found.lead == "The voters together prefer the rejected answer in 3 (25.0%) of 12 pairs."
    histogram = found.data["histogram"]
    assert sum(histogram["label wrong (gold)"]) == 3
    assert sum(histogram["label right (gold)"]) == 9
    assert 0.0 in histogram["edges"]


def test_strength_warns_of_voters_that_are_too_alike(run):
    (note,) = notes(strength.section(run))
    assert "in-sample vote" in note
    edit(run / "vote/report.json", lambda report: report["in_sample"].update(voter_correlation=0.9))
    assert notes(strength.section(run)) == []


def test_strength_says_who_voted_on_a_pair(run):
    def halved(report):
        report["out_of_bag"] = report.pop("cross_fitted") | {"num_votes": 5}
        report["in_sample"] |= {"num_votes": 5}
        report |= {"headline": "out_of_bag", "num_voters": 10}

    before = strength.section(run)
    assert (
        "each only on pairs that it was not trained on (5 folds by group)" in before.blocks[0].text
    )
    edit(run / "vote/report.json", halved)
    found = strength.section(run)
    assert (
        "10 reward models voted, on each pair the 5 that were not trained on it (halves by group)."
    ) in found.blocks[0].text
    (table,) = tables(found)
    assert table.rows == (
        ("out-of-bag", "5", "25.0%", "0.70"),
        ("in-sample", "5", "0.0%", "0.98"),
    )


def test_convergence_shows_what_is_measured_and_what_is_predicted(run):
    found = convergence.section(run)
    assert found.lead == "2 of 3 voters: enough ."
    assert found.data["steps"][0] == {"num_voters": 1, "with_final": 0.9, "with_others": 0.8}
    (picture,) = [block for block in found.blocks if isinstance(block, Picture)]
    assert "with as many others, predicted" in picture.svg
    assert "enough: 0.95" in picture.svg
    assert "lower bound" not in picture.reading


def test_convergence_of_voters_that_share_out_the_pairs_is_a_lower_bound(run):
    edit(
        run / "vote/report.json",
        lambda report: report["convergence"].update(two_votes_at_most=0.98),
    )
    (picture,) = [b for b in convergence.section(run).blocks if isinstance(b, Picture)]
    assert picture.reading.endswith("the prediction is a lower bound.")


def test_voters_that_cannot_be_compared_have_no_convergence(run):
    edit(run / "vote/report.json", lambda report: report.update(convergence=None))
    assert convergence.section(run) is None


def test_unknown_gold_is_neither_right_nor_wrong(run):
    path = run / "data/pairs.parquet"
    table = pq.read_table(path)
    gold = pa.array([None] * 6 + [0.5] * 3 + [1.0] * 3, pa.float64())
    table = table.set_column(table.column_names.index("gold"), "gold", gold)
    pq.write_table(table, path)
    found = strength.section(run).data
    assert found["wrong_label_frac"] is None
    assert sum(found["histogram"]["gold unknown"]) == 9


@pytest.mark.parametrize(
    ("std", "expected"),
    [
        ([0.5, 0.2, 0.5], "a U shape."),
        ([0.1, 0.2, 0.5], "it grows with the strength."),
        ([0.5, 0.2, 0.1], "it falls with the strength."),
        ([0.2, 0.2, 0.2], "it hardly changes with the strength."),
    ],
)
def test_spread_names_the_shape(std, expected):
    groups = Spread(mean_B=np.array([-1.0, 0.0, 1.0]), std_B=np.array(std))
    assert spread.describe(groups).endswith(expected)


def test_one_voter_has_no_spread(run):
    path = run / "vote/strength.parquet"
    table = pq.read_table(path)
    zeros = pa.array(np.zeros(table.num_rows))
    pq.write_table(table.set_column(table.column_names.index("std"), "std", zeros), path)
    assert spread.section(run) is None


def test_agreement_rises_with_strength_and_skips_pairs_without_votes(run):
    groups = agreement.section(run).data["groups"]
    gold = groups["labels that gold confirms"]
    assert [group["value"] for group in gold] == [0.0] * 3 + [1.0] * 9
    people = groups["people who agree"]
    assert [group["value"] for group in people] == pytest.approx([0.2] * 3)
    assert [group["num_items"] for group in people] == [1] * 3


def test_detection_speaks_of_the_first_row_and_of_the_best(run):
    found = detection.section(run)
    assert found.cards[0].value == "0.800"
    assert "does best" not in found.lead
    edit(
        run / "vote/report.json",
        lambda report: report["against"]["gold"]["rows"][1].update(
            auroc={"value": 0.9, "low": 0.85, "high": 0.95}
        ),
    )
    found = detection.section(run)
    assert found.cards[0].value == "0.800"
    assert "length rule does best with 0.900 [0.850, 0.950]" in found.lead
    assert tables(found)[0].rows[-1] == ("chance", "0.500", "0.250")


def test_suspicious_pairs_come_lowest_first_and_most_are_folded(tmp_path, make_run):
    found = suspicious.section(make_run(tmp_path / "many", num_pairs=40, num_wrong=25))
    ids = [pair["id"] for pair in found.data["pairs"]]
    assert ids[:9] == [f"pair-{n}" for n in range(24, 15, -1)]
    assert len(ids) == 20
    shown = [block for block in found.blocks if isinstance(block, Exhibits)]
    folded = [block for block in found.blocks if isinstance(block, Fold)]
    assert len(shown[0].items) == 5
    assert len(folded[0].blocks[0].items) == 15
    first = shown[0].items[0]
    assert first.headline == "strength −25.00 ± 0.41 · 3 of 3 voters for the rejected answer"
    assert min(first.votes) == -1.0
    assert ("People", "1 for the chosen answer, 4 for the rejected one") in first.facts


def test_suspicious_pairs_show_the_votes_that_were_cast(run):
    path = run / "vote/strength.parquet"
    table = pq.read_table(path)
    votes = [[row[0], None, row[2]] for row in table["votes"].to_pylist()]
    at = table.column_names.index("votes")
    pq.write_table(table.set_column(at, "votes", pa.array(votes, pa.list_(pa.float64()))), path)
    found = suspicious.section(run)
    first = next(block for block in found.blocks if isinstance(block, Exhibits)).items[0]
    assert first.headline.endswith("2 of 2 voters for the rejected answer")
    assert len(first.votes) == len(found.data["pairs"][0]["votes"]) == 2


POOL = pa.proxy_memory_pool(pa.default_memory_pool())  # outlives what is allocated from it


def test_texts_stay_on_disk(tmp_path, make_run):
    def peak(num_pairs):
        """The most that Arrow has held so far."""
        run = make_run(
            tmp_path / f"{num_pairs}",
            answer="word " * 200,
            num_pairs=num_pairs,
            only=("data", "vote"),
        )
        before = pa.default_memory_pool()
        pa.set_memory_pool(POOL)
        try:
            for module in (data, suspicious, strength):
                assert module.section(run) is not None
        finally:
            pa.set_memory_pool(before)
        return POOL.max_memory()

    few, many = 1024, 3072
    smaller = peak(few)
    assert (peak(many) - smaller) / (many - few) < 700  # bytes; a pair has 2,000 characters


def test_a_vote_on_an_unknown_pair_is_an_error(run):
    path = run / "data/pairs.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(DataError, match=r"strength\.parquet: id 'pair-0' is not in"):
        strength.section(run)


def test_data_measures_lengths(run):
    lengths = data.section(run).data["lengths"]
    assert lengths["chosen_longer_frac"] == 1.0
    assert sum(lengths["difference_histogram"]["counts"]) == 12


def test_dropped_lists_kinds_and_contradictions(run):
    found = dropped.section(run)
    assert found.data == {"dropped": {"tie": 1, "empty": 1}, "num_contradictory": 2}
    assert found.blocks[0].text == "2 of 14 pairs (14.3%) were dropped: tie 1, empty 1."
    assert tables(found)[0].rows[0] == ("empty", "an answer is empty", "row 9", "1", "7.1%")
    edit(run / "data/report.json", lambda report: report.update(dropped={}, num_dropped=0))
    (run / "data/dropped.parquet").unlink()
    assert dropped.section(run).blocks[0].text == "Nothing was dropped."


def test_shares_of_what_was_dropped_are_of_pairs_where_a_row_makes_several(run):
    counts = {"num_rows": 3, "num_pairs": 12, "num_dropped": 6, "dropped": {"tie": 6}}
    edit(run / "data/report.json", lambda report: report.update(counts))
    assert dropped.section(run).blocks[0].text == "6 of 18 pairs (33.3%) were dropped: tie 6."
    assert data.section(run).cards[0].detail == "6 of 18 dropped"


def test_every_kind_of_drop_is_explained_on_the_page_and_in_the_documentation():
    root = Path(__file__).parents[2]
    makers = (root / "src/tamis/data", root / "src/tamis/principles")
    code = "".join(path.read_text() for maker in makers for path in maker.rglob("*.py"))
    kinds = set(re.findall(r'Dropped\([\w.]+, "(\w+)"|return "(\w+)", ', code))
    found = {kind for pair in kinds for kind in pair if kind} | set(_FIT_DETAILS)
    assert found >= {"tie", "empty", "no_answer", "duplicate", "over_length"}
    assert found == set(dropped.MEANING)
    documented = set(re.findall(r"^\| `(\w+)` \|", (root / "docs/data.md").read_text(), re.M))
    assert found == documented


def test_denoise_tells_repaired_and_broken_and_means_by_reason(run):
    found = denoise.section(run)
    assert found.lead.endswith("25.0% to 12.5%: 2 repaired, 1 broken.")
    rows = {row[0].strip(): row[1:] for row in tables(found)[0].rows}
    assert rows["flip"] == ("1 (8.3%)", "0.00", "0.00", "1.00")
    assert rows["keep"] == ("11 (91.7%)", "1.00", "0.00", "1.00")


def test_denoise_tells_what_a_dropping_policy_left_out(run):
    edit(
        run / "denoise/report.json",
        lambda report: report["against_gold"].update(num_wrong_dropped=3, num_right_dropped=1),
    )
    assert denoise.section(run).lead.endswith("1 broken, 3 wrong and 1 right ones left out.")


def test_running_mean_matches_the_definition():
    values = np.random.default_rng(0).normal(size=50)
    for window in (1, 3, 50, 80):
        expected = [values[max(0, n - window + 1) : n + 1].mean() for n in range(50)]
        assert training.running_mean(values, window=window) == pytest.approx(expected)


def test_training_keeps_every_point_and_no_times(run):
    found = training.section(run).data
    assert len(found["loss"]) == 20
    assert "timing" not in found


def test_training_without_accuracy(run):
    edit(
        run / "train/report.json",
        lambda report: report.update(loss=[{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.6}]),
    )
    assert "accuracy on the training" not in training.section(run).blocks[1].caption


def test_benchmarks_compare_with_the_better_rule_of_length(run):
    found = benchmarks.section(run)
    assert "clearly above the better rule of length on 1 of 1 benchmark " in found.lead
    assert tables(found)[0].rows[0][3:5] == ("60.0%", "40.0%")
    edit(
        run / "bench/report.json",
        lambda report: report["benchmarks"][0].update(
            baselines={"longest": 0.3, "shortest": 0.7}, beats_longest=None
        ),
    )
    assert "rule of length" not in benchmarks.section(run).lead
    assert tables(benchmarks.section(run))[0].rows[0][5] == "–"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.03, "denoising helps"),
        (-0.03, -0.01, "denoising hurts"),
        (-0.01, 0.03, "no clear difference at this size of study"),
        (0.0, 0.03, "no clear difference at this size of study"),
    ],
)
def test_judge_needs_an_interval_clear_of_zero(low, high, expected):
    assert judge(Interval((low + high) / 2, low, high)) == expected


def test_study_sums_up_each_noise(run):
    found = study.section(run)
    assert "reaches 70.0%, on denoised labels 75.0%" in found.lead
    assert found.lead.endswith("+5.0 points [+3.0, +7.0], denoising helps.")
    assert found.cards[0].value == "+5.0 points"


def test_study_may_name_the_arm_that_denoises(run):
    def rename(report):
        report["denoised"] = "flip 10%"
        report["arms"][1]["labels"] = "flip 10%"
        report["differences"][0]["contrast"] = "flip 10% - raw"

    edit(run / "study/report.json", rename)
    found = study.section(run)
    assert "on labels after “flip 10%” 75.0%: +5.0 points" in found.lead
    assert found.cards[0].label == "accuracy: flip 10% − raw labels"


def test_study_without_the_main_contrast_says_nothing(run):
    edit(run / "study/report.json", lambda report: report.update(differences=[], detection=[]))
    found = study.section(run)
    assert found.lead == ""
    assert found.cards == ()


def test_made_lists_seeds_and_versions_but_no_times(run):
    found = made.section(run).data
    assert found["seeds"] == {"recipe: seed": 7, "data: seed": 11, "vote: seed": 11}
    assert found["recipe"]["data"]["path"] == "…/hh.jsonl"
    assert found["recipe"]["day"] == "2026-01-02"
    assert set(found["stages"][0]) == {"stage", "key", "config", "inputs", "versions"}
    assert found["fingerprints"]["source of the data"] == "f" * 64


@pytest.mark.parametrize("text", ["a: [", "a: \x00"])
def test_a_broken_recipe_is_an_error(run, text):
    (run / "recipe.yaml").write_text(text)
    with pytest.raises(DataError, match="expected a YAML file"):
        made.section(run)


def test_a_stage_killed_while_it_was_published_is_left_out(run):
    names = [stage["stage"] for stage in made.section(run).data["stages"]]
    (run / "vote/stage.json").write_text('{"key": "", "outputs": {}}')
    found = made.section(run)
    assert [stage["stage"] for stage in found.data["stages"]] == [n for n in names if n != "vote"]


def test_a_broken_stage_record_is_an_error(run):
    (run / "vote/stage.json").write_text("[]")
    with pytest.raises(DataError, match="expected the record of a stage"):
        made.section(run)


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        (
            "bench/report.json",
            lambda report: report["benchmarks"][0].pop("accuracy"),
            r"bench.report\.json: benchmarks\.0\.accuracy: Field required",
        ),
        (
            "denoise/report.json",
            lambda report: report.update(num_pairs="many"),
            r"denoise.report\.json: num_pairs: .*; found 'many'",
        ),
    ],
)
def test_a_damaged_report_names_file_and_field(run, path, change, message):
    edit(run / path, change)
    module = benchmarks if path.startswith("bench") else denoise
    with pytest.raises(DataError, match=message):
        module.section(run)


def test_a_strength_that_is_no_number_names_file_and_row(run):
    path = run / "vote/strength.parquet"
    table = pq.read_table(path)
    mean = table["mean"].to_pylist()
    mean[4] = math.nan
    place = table.column_names.index("mean")
    pq.write_table(table.set_column(place, "mean", pa.array(mean)), path)
    with pytest.raises(DataError, match=r"strength\.parquet: row 4, mean: expected a number"):
        strength.section(run)
    pq.write_table(table.set_column(place, "mean", pa.array(["x"] * len(mean))), path)
    with pytest.raises(DataError, match="column 'mean': expected numbers, found string"):
        strength.section(run)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.05, "is better than"),
        (-0.05, -0.01, "is worse than"),
        (-0.01, 0.03, "is not distinguishable from"),
    ],
)
def test_before_and_after_says_what_the_difference_shows(tmp_path, low, high, words):
    share = {"value": 0.7, "low": 0.68, "high": 0.72, "num_items": 100}
    gap = {"value": (low + high) / 2, "low": low, "high": high, "num_items": 100}
    row = {"name": "pairs", "num_items": 100, "accuracy": share, "baseline": share}
    (tmp_path / "compare").mkdir()
    content = {"benchmarks": [{**row, "difference": gap}]}
    (tmp_path / "compare" / "report.json").write_text(json.dumps(content), encoding="utf-8")
    made = before_after.section(tmp_path)
    assert words in made.lead
    assert made.data["benchmarks"][0]["difference"]["low"] == low


def test_without_a_baseline_there_is_no_before_and_after(tmp_path):
    assert before_after.section(tmp_path) is None
