import numpy as np
import pytest

from tamis.errors import ConfigError
from tamis.principles import Example, PrinciplesConfig, examples, judged
from tamis.principles.build import LABEL_SCHEMA, Labels, label_report
from tamis.principles.judgement import Judgement
from tamis.principles.layout import CUE
from tamis.types import Dropped


@pytest.fixture
def build(make_pairs, lists, tmp_path):
    """Makes the examples of pairs, judged by length."""

    def build(pairs, *, seed=0, principles=None, **settings):
        config = PrinciplesConfig.model_validate({"judge": "length", **settings})
        known = principles or lists
        common = {"config": config, "seed": seed}
        judgement = judged(pairs, known, folder=tmp_path, notice=print, **common)
        return list(examples(pairs, known, judgement=judgement, **common))

    return build


def body(message):
    return message[-1].content.split("\n\n### Principles")[0]


def is_longer(example):
    return len(body(example.pair.chosen)) > len(body(example.pair.rejected))


def test_the_label_is_what_the_principle_asks_for(build, make_pairs):
    found = build(make_pairs(20), most=1)
    assert len(found) == 80
    for example in found:
        (stance,) = example.stances
        wants_long = (stance.name == "detailed") != stance.negated
        assert is_longer(example) == wants_long
        assert example.deciding == stance.label == example.pair.subset
        assert example.score > 0
        for side in (example.pair.chosen, example.pair.rejected):
            assert f"- {stance.text}\n" in side[-1].content
            assert side[-1].content.endswith(CUE)
    negated = [example.stances[0].negated for example in found]
    assert 0.3 < np.mean(negated) < 0.7
    assert {example.stances[0].text for example in found} == {
        *("Be brief.", "Few words.", "Be long.", "Many words.", "Say everything.", "Say little.")
    }


def test_a_negated_principle_turns_the_label(build, make_pairs):
    pairs = make_pairs(10)
    wanted, negated = (build(pairs, most=1, negate_prob=p, passes=1) for p in (0.0, 1.0))
    for one, other in zip(wanted, negated, strict=True):
        assert one.stances[0].name == other.stances[0].name
        assert is_longer(one) != is_longer(other)
        assert one.swapped != other.swapped


def test_what_is_known_of_the_stored_label_does_not_go_on(build, make_pairs):
    pairs = make_pairs(10)
    for example in build(pairs):
        if isinstance(example, Example):
            source = next(pair for pair in pairs if pair.id == example.source_id)
            made = example.pair
            assert (made.margin, made.votes, made.gold) == (None, None, None)
            assert (made.group, made.split, made.row) == (source.group, source.split, source.row)
            kept = body(made.chosen) == source.chosen[0].content
            assert kept != example.swapped


def test_examples_do_not_depend_on_the_order_of_pairs(build, make_pairs):
    pairs = make_pairs(12)
    found = {example.pair.id for example in build(pairs) if isinstance(example, Example)}
    turned = {example.pair.id for example in build(pairs[::-1]) if isinstance(example, Example)}
    assert found == turned
    other = {example.pair.id for example in build(pairs, seed=1) if isinstance(example, Example)}
    assert other != found


def test_principles_against_each_other_decide_nothing(build, make_pairs):
    found = build(make_pairs(30), stop_prob=1e-6, passes=2)
    both = [e for e in found if isinstance(e, Example) and len(e.stances) == 2]
    dropped = [e for e in found if isinstance(e, Dropped)]
    assert both
    assert dropped
    assert {drop.kind for drop in dropped} == {"undecided"}
    # concise and detailed agree where one of them is negated
    assert all(sum(s.negated for s in example.stances) == 1 for example in both)
    assert (
        len(both) + len(dropped) + sum(len(e.stances) == 1 for e in found if e not in dropped) == 60
    )


def test_noise_turns_labels_of_training_pairs_alone(build, make_pairs):
    pairs = make_pairs(200)
    clean, noisy = (build(pairs, most=1, passes=1, label_noise=noise) for noise in (0.0, 0.25))
    turned = [e.noisy for e in noisy if e.pair.split == "train"]
    assert np.mean(turned) == pytest.approx(0.25, abs=0.08)
    assert not any(e.noisy for e in noisy if e.pair.split == "test")
    for one, other in zip(clean, noisy, strict=True):
        assert (is_longer(one) != is_longer(other)) == other.noisy
        assert (one.stances, one.score) == (other.stances, other.score)


def test_a_pair_that_nobody_judged_is_named(make_pairs, lists):
    pairs, nan = make_pairs(2), np.array([[np.nan, np.nan], [1.0, np.nan]])
    judgement = Judgement(nan, nan, np.isfinite(nan))
    config = PrinciplesConfig(judge="length", passes=2)
    found = list(examples(pairs, lists, judgement=judgement, config=config, seed=0))
    assert found[0] == Dropped(0, "no_score", "the judge knows no principle for it")
    assert [e.stances[0].name for e in found[1:]] == ["concise", "concise"]


def test_labels_say_how_each_example_came_about(build, make_pairs, lists):
    pairs = make_pairs(6)
    made = build(pairs, most=1)
    labels = Labels(made, {})
    passed = list(labels)
    assert [p.id for p in passed] == [e.pair.id for e in made]
    ids = sorted({pair.id for pair in passed})
    table = labels.table(ids)
    assert table.schema == LABEL_SCHEMA
    assert table["id"].to_pylist() == ids
    row = table.to_pylist()[0]
    example = next(e for e in made if e.pair.id == row["id"])
    assert row["pair"] == example.source_id
    assert row["principles"] == [example.deciding] == [row["deciding"]]
    assert row["texts"] == [example.stances[0].text]


def test_the_report_counts_by_principle(build, make_pairs, lists, tmp_path):
    pairs = make_pairs(10)
    config = PrinciplesConfig(judge="length", most=1)
    judgement = judged(pairs, lists, config=config, seed=0, folder=tmp_path, notice=print)
    labels = Labels(examples(pairs, lists, judgement=judgement, config=config, seed=0), {})
    ids = [pair.id for pair in labels]
    report = label_report(labels.table(dict.fromkeys(ids)), lists, judgement=judgement)
    rows = report["by_principle"]
    assert [r["name"] for r in rows] == ["concise", "detailed"]
    assert [r["num_judged"] for r in rows] == [10, 10]
    assert [r["agree_frac"] for r in rows] == [1.0, 1.0]
    assert rows[0]["variance"] == rows[1]["variance"] > 0
    shown = [r["num_shown"] + r["num_shown_negated"] for r in rows]
    assert sum(shown) == len(set(ids))
    assert shown == [r["num_decides"] + r["num_decides_negated"] for r in rows]


def test_no_or_a_wrong_judge_is_named(build, make_pairs, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="no judge"):
        build(make_pairs(1), judge=None)
    with pytest.raises(ConfigError, match="unknown judge 'lenght'; expected one of endpoint"):
        build(make_pairs(1), judge="lenght")
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        "import numpy as np\n"
        "from tamis.principles.judgement import Judgement\n"
        "def judge(pairs, principles, *, task):\n"
        "    return Judgement(*[np.ones(len(pairs))] * 3)\n"
    )
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "flat.py").write_text(text)
    with pytest.raises(ConfigError, match=r"scores of shape \(1,\); expected \(1, 2\)"):
        build(make_pairs(1), judge="house.flat")


def test_settings_contradict_each_other():
    with pytest.raises(ValueError, match="judge is scores; name their file"):
        PrinciplesConfig(judge="scores")
    with pytest.raises(ValueError, match="judge is endpoint; name its url and model"):
        PrinciplesConfig.model_validate({"judge": "endpoint", "endpoint": {"url": "http://x"}})
