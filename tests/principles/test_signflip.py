import numpy as np
import pytest

from tamis.principles import sign_flip
from tamis.principles.signflip import correlation

LENGTHS = np.array([10.0, 20.0, 30.0, 40.0])


def test_a_score_that_follows_and_one_that_does_not():
    values = [LENGTHS] * 4
    short, long, middle = -LENGTHS, LENGTHS, np.array([1.0, 5.0, 3.0, 4.0])
    found = sign_flip(
        values, wanted=[short, long, short, short], negated=[long, short, short, middle], asks=-1
    )
    assert found.wanted_Q == pytest.approx([-1, 1, -1, -1])
    assert found.negated_Q == pytest.approx([1, -1, -1, 0.4])
    assert found.flipped_Q.tolist() == [1, 1, 0, 1]
    assert found.followed_Q.tolist() == [1, 0, 0, 1]


def test_prompts_that_cannot_tell_are_no_failures():
    two, same = np.array([1.0, 2.0]), np.array([3.0, 3.0, 3.0])
    found = sign_flip([two, same], wanted=[two, same], negated=[-two, -same], asks=1)
    assert np.isnan(found.flipped_Q).all()
    assert np.isnan(found.followed_Q).all()


def test_equal_scores_are_no_sign():
    assert correlation(LENGTHS, np.ones(4)) == 0
    found = sign_flip([LENGTHS], wanted=[-LENGTHS], negated=[np.ones(4)], asks=-1)
    assert found.flipped_Q.tolist() == [0]
