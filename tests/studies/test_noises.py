from dataclasses import replace

import numpy as np
import pytest

from tamis.errors import DataError
from tamis.metrics import length_delta
from tamis.studies.noises import Noise, draw
from tamis.types import Votes


def with_votes(bench, *votes):
    """As many copies of pairs with these votes as the bench has pairs."""
    return replace(
        bench,
        train=[
            replace(pair, votes=votes[number % len(votes)])
            for number, pair in enumerate(bench.train)
        ],
    )


@pytest.mark.parametrize("kind", ["uniform", "longer", "near"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_exactly_so_many_labels_are_turned(bench, kind, share):
    drawn = draw(Noise(kind, share), bench, seed=0)
    assert drawn.turned_N.sum() == round(share * len(bench.train))
    assert drawn.known_N.all()
    assert (drawn.wrong_N == drawn.turned_N).all()
    again = draw(Noise(kind, share), bench, seed=0)
    assert (again.turned_N == drawn.turned_N).all()
    if share > 0:
        assert (draw(Noise(kind, share), bench, seed=1).turned_N != drawn.turned_N).any()


def test_length_biased_flips_prefer_the_longer_answer(bench):
    longer_N = length_delta(bench.train)
    uniform, biased = (draw(Noise(kind, 0.3), bench, seed=0) for kind in ("uniform", "longer"))
    now_longer = [(longer_N[drawn.turned_N] < 0).mean() for drawn in (uniform, biased)]
    assert now_longer[1] > now_longer[0] + 0.2
    assert not (longer_N[~biased.turned_N] >= 0).all()  # a matter of odds, no rule


def test_near_ties_are_turned_first(bench):
    turned_N = draw(Noise("near", 0.2), bench, seed=0).turned_N
    assert bench.distance_N[turned_N].max() <= bench.distance_N[~turned_N].min()
    other_N = np.arange(len(bench.train))[::-1].astype(float)
    unknown = replace(bench, distance_N=None)
    turned_N = draw(Noise("near", 0.2), unknown, seed=0, distance_N=other_N).turned_N
    assert turned_N[-88:].all()
    assert turned_N.sum() == 88
    with pytest.raises(DataError, match="how close"):
        draw(Noise("near", 0.2), unknown, seed=0)


def test_one_vote_is_judged_by_the_others(bench):
    """Four say chosen and one rejected: its vote is wrong, and any other is right."""
    drawn = draw(Noise("votes"), with_votes(bench, Votes(4, 1)), seed=0)
    assert drawn.known_N.all()
    assert (drawn.wrong_N == drawn.turned_N).all()
    assert drawn.turned_N.mean() == pytest.approx(0.2, abs=0.05)


def test_where_the_others_are_even_nothing_is_known(bench):
    """Of two for and one against, the others of a vote for are even; of a vote against, not."""
    drawn = draw(Noise("votes"), with_votes(bench, Votes(2, 1)), seed=0)
    assert drawn.turned_N.mean() == pytest.approx(1 / 3, abs=0.07)
    assert (drawn.known_N == drawn.turned_N).all()
    assert drawn.wrong_N[drawn.known_N].all()


def test_the_stored_label_may_be_in_the_minority(bench):
    drawn = draw(Noise("votes"), with_votes(bench, Votes(1, 4)), seed=0)
    assert drawn.known_N.all()
    assert (drawn.wrong_N == ~drawn.turned_N).all()


@pytest.mark.parametrize("votes", [Votes(1, 0, 3), Votes(0, 0, 5)])
def test_nobody_left_or_nobody_decided(bench, votes):
    drawn = draw(Noise("votes"), with_votes(bench, votes), seed=0)
    assert not drawn.known_N.any()
    assert not drawn.turned_N.any()


def test_undecided_people_do_not_count(bench):
    drawn = draw(Noise("votes"), with_votes(bench, Votes(3, 1, 90)), seed=0)
    assert drawn.turned_N.mean() == pytest.approx(0.25, abs=0.07)
    assert drawn.known_N.all()


def test_pairs_without_votes_cannot_draw_any(bench):
    lacking = replace(bench, train=[replace(bench.train[0], votes=None), *bench.train[1:]])
    with pytest.raises(DataError, match="ukp: some pairs lack"):
        draw(Noise("votes"), lacking, seed=0)
