"""Methods are put together, and chosen, on pairs that no test set has."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tamis.errors import ConfigError
from tamis.studies.shift.arms import arm_of
from tamis.studies.shift.choose import UNLIKE, best, together, validated, validation_sets
from tamis.studies.shift.levels import META
from tamis.studies.shift.material import GRADED_SETS, PLAIN_SETS, Sizes, read_material
from tamis.studies.shift.measures import IN, OUT
from tamis.studies.shift.plan import JUDGE, POLICY, shift_plan
from tamis.studies.shift.ready import SAMPLES
from tamis.studies.shift.records import Scores, TestSet
from tamis.studies.workers import Work

BENCH = Path(__file__).parents[3] / "benchmarks" / "methods.py"


def test_two_methods_change_what_either_changes(tmp_path):
    plain = shift_plan("quick").train
    both = together(arm_of("metarm-outer"), arm_of("grm-sft"))
    train = both.train(plain, responses=tmp_path / "r.jsonl", ratio=0.1)
    assert train.objective.base_coefficient == 0.99
    assert list(train.objective.terms) == ["grm"]
    assert train.objective.meta.eta == 0.1
    several = together(arm_of("prioritised"), arm_of("warm"))
    assert (several.sampler, several.how, dict(several.terms)) == ("prioritised", "average", {})
    assert together(arm_of("warm"), arm_of("prioritised")).sampler == "prioritised"
    with pytest.raises(ConfigError, match="both change how"):
        together(arm_of("warm"), arm_of("ensemble"))
    with pytest.raises(ConfigError, match="a term of the same name"):
        together(arm_of("swav"), arm_of("swav-diff"))


def test_accuracies_are_means_over_data_sets():
    sets = [TestSet(name, name, name != "a", ()) for name in "abc"]
    gaps = {"a": np.array([1.0, -1.0]), "b": np.array([1.0, 2.0, 0.0]), "c": np.array([-1.0])}
    found = validated(Scores(gap=gaps, level={}), sets)
    assert found == pytest.approx({IN: 0.5, OUT: (2.5 / 3 + 0.0) / 2})
    assert best({"x": [found], "y": [{**found, OUT: 0.9}]}) == "y"


def test_no_pair_is_drawn_tested_or_judged_by(data_dir):
    assert not UNLIKE.keys() & {*PLAIN_SETS, *GRADED_SETS}
    material = read_material(data_dir, sizes=Sizes())
    sets = validation_sets(material, data_dir, num_like=400, num_unlike=100)
    assert [one.is_out for one in sets] == [False, *[True] * len(UNLIKE)]
    assert len(sets[0].pairs) == 400
    assert all(90 <= len(one.pairs) <= 100 for one in sets[1:])
    tested = {pair.prompt for one in material.sets for pair in one.pairs}
    drawn = {pair.prompt for part in material.parts for pair in part}
    shown = {pair.prompt for one in sets for pair in one.pairs}
    assert not shown & (tested | drawn)


def test_the_bench_writes_the_answers_of_its_own_prompts_over_those_of_another_tier(
    tmp_path, monkeypatch
):
    spec = importlib.util.spec_from_file_location("methods", BENCH)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    path = tmp_path / SAMPLES / META
    path.parent.mkdir()
    path.write_text("of another tier")
    monkeypatch.setattr(bench, "fit_judges", lambda *_, **__: "judges")
    monkeypatch.setattr(
        bench,
        "shifted_levels",
        lambda material, *, model, judges, folder: (folder / META).write_text(
            f"{material} {model} {judges}"
        ),
    )
    work = Work(shift_plan("default"), tmp_path, None, {JUDGE: "judge", POLICY: "policy"})
    bench.write_answers(work, "material")
    assert path.read_text() == "material policy judges"
