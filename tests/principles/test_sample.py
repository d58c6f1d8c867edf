import numpy as np
import pytest

from tamis.errors import ConfigError
from tamis.principles import (
    Principle,
    Stance,
    load_principles,
    sample_principles,
    sampling_weights,
    stance_of,
    with_interventions,
)
from tamis.principles.sample import INTERVENTIONS

LIST = [
    Principle("a", ("A.", "a."), ("not A.",), 1.0),
    Principle("b", ("B.",), ("not B.",), 3.0, {"reasoning": 128.0}),
    Principle("c", ("C.",), ("not C.",), 1.0),
    Principle("d", ("D.",), ("not D.",), 0.0),
]


def test_weights_depend_on_the_type_of_the_prompt():
    assert sampling_weights(LIST).tolist() == [1, 3, 1, 0]
    assert sampling_weights(LIST, prompt_type="reasoning").tolist() == [1, 131, 1, 0]
    assert sampling_weights(LIST, prompt_type="other").tolist() == [1, 3, 1, 0]


def test_principles_are_drawn_by_weight_without_replacement():
    rng = np.random.default_rng(0)
    firsts = []
    for _ in range(600):
        drawn = sample_principles(LIST, rng=rng, num_sampled=2)
        names = [stance.name for stance in drawn]
        assert len(set(names)) == 2
        assert "d" not in names
        assert not any(stance.negated for stance in drawn)
        firsts.append(names[0])
    assert firsts.count("b") / 600 == pytest.approx(3 / 5, abs=0.06)
    drawn = [sample_principles(LIST, rng=rng, num_sampled=1, prompt_type="reasoning")[0].name]
    assert drawn == ["b"]


def test_a_seed_repeats_the_draw():
    def draw(seed):
        rng = np.random.default_rng(seed)
        return [sample_principles(load_principles(), rng=rng) for _ in range(5)]

    assert draw(1) == draw(1) != draw(2)
    assert all(len(stances) == 3 for stances in draw(1))


def test_too_few_principles_are_refused():
    with pytest.raises(ConfigError, match="4 principles are to be drawn; 3 have a weight above 0"):
        sample_principles(LIST, rng=np.random.default_rng(0), num_sampled=4)


def test_interventions_are_always_there_and_last():
    principles = load_principles()
    fixed = [stance_of(name, principles) for name in INTERVENTIONS]
    drawn = [Stance("direct", "Just do it."), stance_of("concise", principles)]
    found = with_interventions(drawn, fixed)
    assert [stance.name for stance in found] == ["concise", *INTERVENTIONS]
    assert found[2].text != "Just do it."
    free = [stance_of("Answer in verse.", []), stance_of("Answer in prose.", [])]
    assert with_interventions(free, free[:1]) == [free[1], free[0]]
    assert with_interventions([], fixed) == fixed
