import numpy as np
import pytest

from tamis.errors import DataError
from tamis.policy.sampling.responses import Sampled
from tamis.studies.overoptimise.pools import preferences, standardised
from tamis.types import Message

PROMPT = (Message("user", "?"),)


def answers(*texts):
    return Sampled(PROMPT, tuple((Message("assistant", text),) for text in texts))


def test_answers_to_a_prompt_are_compared_with_each_other():
    gold_PK = np.array([[1.0, 3.0, 2.0, 0.5], [0.0, 0.0, 2.0, 2.0]])
    found = preferences([answers("a", "b", "c", "d"), answers("e", "f", "g", "g")], gold_PK)
    assert [(p.chosen[0].content, p.rejected[0].content, p.margin) for p in found] == [
        ("b", "a", 2.0),
        ("c", "a", 1.0),
        ("a", "d", 0.5),
        ("b", "c", 1.0),
        ("b", "d", 2.5),
        ("c", "d", 1.5),
        ("g", "e", 2.0),
        ("g", "f", 2.0),
    ]  # e and f have equal gold, g was given twice
    assert {pair.prompt for pair in found} == {PROMPT}
    other = Sampled((Message("user", "!"),), answers("a", "b").responses)
    found = preferences([answers("a", "b"), other], np.array([[1.0, 3.0], [0.0, 1.0]]))
    assert len({pair.group for pair in found}) == 2  # what meets in a batch


def test_each_prompt_has_its_own_zero_and_all_one_unit():
    reward_PK = np.array([[10.0, 14.0], [0.0, 0.0], [-1.0, 1.0]])
    found_PK = standardised(reward_PK)
    np.testing.assert_allclose(found_PK.mean(axis=1), 0.0, atol=1e-12)
    assert found_PK.var(axis=1).mean() == pytest.approx(1.0)
    assert found_PK[0, 1] / found_PK[2, 1] == pytest.approx(2.0)
    with pytest.raises(DataError, match="expected finite ones that differ"):
        standardised(np.ones((2, 3)))
