import gzip
import json
from dataclasses import replace

import pytest

from tamis.cli import main
from tamis.errors import ConfigError, DataError
from tamis.runs import read_json, read_parquet
from tamis.studies import commands
from tamis.studies.commands import fill_document, plan_for, run_study_stage, sections_of
from tamis.studies.plan import StudyPlan
from tamis.studies.present import TITLE


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with two small files of preferences, under the names of HH-RLHF."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("hh_harmless_base", "hh_helpful_base"):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            for number in range(60):
                row = {
                    "prompt": [{"role": "user", "content": f"{name} {number}?"}],
                    "chosen": [{"role": "assistant", "content": f"good answer {number % 7}"}],
                    "rejected": [{"role": "assistant", "content": f"bad {number % 5}"}],
                    "split": "test" if number % 3 == 0 else "train",
                }
                file.write(json.dumps(row) + "\n")
    return folder


@pytest.fixture(scope="module")
def plan(vote):
    return StudyPlan(
        tier="default",
        seeds=(0, 1),
        benches=("hh",),
        models=("MiniLM",),
        shares=(0.3,),
        num_trusted=20,
        vote=vote,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


def test_some_arms_are_run_alone():
    every = plan_for("shift", "full", num_seeds=2)
    some = plan_for("shift", "full", num_seeds=2, arms=["combined", "warm", "plain"])
    assert some.arms == ("plain", "warm", "combined")
    assert some.model_dump(exclude={"arms"}) == every.model_dump(exclude={"arms"})
    assert plan_for("overoptimise", "default", num_seeds=2, arms=["raw"]).arms == ("raw",)
    with pytest.raises(ConfigError, match="expected plain and some of simcse, simcse-diff"):
        plan_for("shift", "full", num_seeds=2, arms=["combined", "warm"])
    with pytest.raises(ConfigError, match="arms are plain; expected plain and some of"):
        plan_for("shift", "full", num_seeds=2, arms=["plain"])
    with pytest.raises(ConfigError, match="and member if several models are to be held"):
        plan_for("shift", "full", num_seeds=2, arms=["plain", "member"])
    documented = plan_for("shift", "full", num_seeds=2, arms=["metarm-outer", "plain"])
    assert documented.arms == ("plain", "metarm-outer")
    with pytest.raises(ConfigError, match=r"--arm: .*raw, none; expected raw, and known others"):
        plan_for("overoptimise", "quick", num_seeds=2, arms=["none", "raw"])
    assert plan_for("overoptimise", "full", num_seeds=2, arms=["raw", "warm"]).rl.arms == ("raw",)
    with pytest.raises(ConfigError, match="study noise runs all its arms; --arm is for shift and"):
        plan_for("noise", "quick", num_seeds=2, arms=["raw"])


def test_every_tier_may_train_a_policy():
    plain, more = (plan_for("overoptimise", "default", num_seeds=2, rl=rl) for rl in (False, True))
    assert plain.rl is None
    assert more.rl == plan_for("overoptimise", "full", num_seeds=2).rl
    assert plan_for("overoptimise", "quick", num_seeds=2, rl=True).rl.arms == ("raw",)
    with pytest.raises(ConfigError, match="study shift trains no policy; --rl is for overoptimise"):
        plan_for("shift", "quick", num_seeds=2, rl=True)


@pytest.mark.parametrize("kind", ["noise", "deciles", "shift", "overoptimise"])
def test_seeds_may_be_others(kind):
    first, later = (plan_for(kind, "full", num_seeds=3, first_seed=n) for n in (0, 5))
    assert (first.seeds, later.seeds) == ((0, 1, 2), (5, 6, 7))
    assert later.model_dump(exclude={"seeds"}) == first.model_dump(exclude={"seeds"})


@pytest.mark.parametrize("kind", ["noise", "deciles"])
def test_a_study_says_what_it_takes_then_writes_everything(kind, plan, data, run, tmp_path):
    said = []
    result = run_study_stage(kind, run, plan=plan, data=data, notice=said.append)
    assert said[0].startswith("estimate on two cores: about")
    assert said[1] == "hh: reading 120 pairs"
    assert result.fresh
    assert read_json(run / kind / "report.json")["study"] == kind
    assert read_parquet(run / kind / "results.parquet").num_rows > 20
    assert TITLE in (run / kind / "report.html").read_text(encoding="utf-8")
    text = (run / kind / "tables.md").read_text(encoding="utf-8")
    images = sorted(path.name for path in (run / kind / "images").iterdir())
    assert images
    assert all(f"images/{name}" in text for name in images)
    again = run_study_stage(kind, run, plan=plan, data=data, notice=said.append)
    assert not again.fresh

    page = tmp_path / "page.md"
    page.write_text(f"<!-- begin: study-{kind} -->\n<!-- end: study-{kind} -->\n")
    fill_document(
        kind, sections_of(kind, run), page=page, tier="full"
    )  # it has no place of its own
    assert text in page.read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == images

    full = f"<!-- begin: full-study-{kind} -->\n<!-- end: full-study-{kind} -->\n"
    page.write_text(f"<!-- begin: study-{kind} -->\n<!-- end: study-{kind} -->\n{full}")
    for tier in ("full", "default"):
        fill_document(kind, sections_of(kind, run), page=page, tier=tier)
    found = page.read_text(encoding="utf-8")
    assert text in found
    assert f"images/full-study-{kind}-1.svg" in found
    both = sorted([*images, *(f"full-{name}" for name in images)])
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == both

    with pytest.raises(DataError, match=f"expected the marks <!-- begin: fresh-study-{kind} -->"):
        fill_document(kind, sections_of(kind, run), page=page, tier="full", first_seed=5)
    assert page.read_text(encoding="utf-8") == found
    page.write_text(f"<!-- begin: fresh-study-{kind} -->\n<!-- end: fresh-study-{kind} -->\n{full}")
    fill_document(kind, sections_of(kind, run), page=page, tier="full", first_seed=5)
    assert f"images/fresh-study-{kind}-1.svg" in page.read_text(encoding="utf-8")


def test_another_precision_of_the_models_is_another_study(plan, data, tmp_path, monkeypatch):
    one = plan.model_copy(update={"seeds": (0,)})
    told = {"plan": one, "data": data, "notice": lambda _: None}
    assert run_study_stage("deciles", tmp_path, **told).fresh
    study = commands.STUDIES["deciles"]

    def in_bfloat16(plan, *, folder):
        found = study.models(plan, folder=folder)
        return {k: m.model_copy(update={"dtype": "bfloat16"}) for k, m in found.items()}

    changed = replace(study, models=in_bfloat16)
    monkeypatch.setattr(commands, "STUDIES", {**commands.STUDIES, "deciles": changed})
    assert run_study_stage("deciles", tmp_path, **told).fresh
    assert not run_study_stage("deciles", tmp_path, **told).fresh


def test_quick_and_full_exclude_each_other(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        main(["study", "noise", "--quick", "--full", "--out", str(tmp_path)])
    assert end.value.code == 2
    assert "--quick and --full" in capsys.readouterr().err


def test_data_sets_that_are_missing_are_named(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("TAMIS_DATA_DIR", raising=False)
    with pytest.raises(SystemExit) as end:
        main(["study", "deciles", "--out", str(tmp_path / "run")])
    assert end.value.code == 2
    assert "humour_votes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
