import pytest

from tamis.errors import ConfigError
from tamis.recipes.files import parse
from tamis.vote.config import BranchConfig, VoteConfig


def vote(**settings):
    return parse(VoteConfig, settings, where="test")


@pytest.mark.parametrize(
    ("kind", "cast"),
    [
        ("head", ("cross_fitted", "in_sample")),
        ("full", ("cross_fitted", "in_sample")),
        ("branch", ("out_of_bag",)),
    ],
)
def test_each_kind_has_estimators_by_default(kind, cast):
    assert vote(kind=kind).estimators is None
    assert vote(kind=kind).estimators_cast == cast
    assert vote(estimators=["out_of_bag", "in_sample"]).estimators_cast == (
        "out_of_bag",
        "in_sample",
    )


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"estimators": []}, "key 'estimators' is "),
        ({"estimators": ["both"]}, "key 'estimators.0' is 'both'"),
        ({"estimators": ["in_sample", "in_sample"]}, "expected each at most once"),
        ({"kind": "branch", "estimators": ["cross_fitted"]}, "branch voters cast out_of_bag votes"),
        ({"kind": "branch", "num_voters": 5}, "num_voters is 5; out_of_bag votes need an even"),
        ({"estimators": ["out_of_bag"], "num_voters": 1}, "num_voters is 1; out_of_bag"),
        ({"branch": {"rank": 0}}, "key 'branch.rank' is 0"),
    ],
)
def test_what_cannot_be_is_refused(settings, problem):
    with pytest.raises(ConfigError) as caught:
        vote(**settings)
    assert problem in str(caught.value)


def test_a_vote_is_run_again_for_what_changes_it_alone():
    plain = vote()
    assert plain.identity() == vote(allow_slow=True, branch={"rank": 4}).identity()
    assert plain.identity() == vote(estimators=["in_sample", "cross_fitted"]).identity()
    for other in (
        vote(estimators=["in_sample"]),
        vote(l2=0.1),
        vote(num_voters=4),
        vote(kind="full"),
    ):
        assert plain.identity() != other.identity()
    for kind in ("branch", "full"):  # heads are not theirs
        of_heads = {"epochs": 9, "learning_rate": 1.0, "batch_size": 2, "l2": 0.0}
        assert vote(kind=kind).identity() == vote(kind=kind, **of_heads).identity()
        assert vote(kind=kind).identity() != vote(kind=kind, fold_by="group").identity()
    branch = VoteConfig(kind="branch", branch=BranchConfig(rank=4))
    assert branch.identity() != VoteConfig(kind="branch").identity()
