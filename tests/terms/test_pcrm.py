"""PCRM against what the paper's code computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tamis.losses.bradley_terry import bradley_terry
from tamis.models.config import ModelConfig
from tamis.models.embed import sentence_vectors
from tamis.models.tokenise import EncodedPair, encode_pairs, load_tokenizer
from tamis.terms.pcrm import Settings, bounds, columns, loss, reads
from tamis.terms.similarity import angular_similarity
from tamis.terms.view import KnownPairs, View


@pytest.fixture
def known(llama, pairs, tmp_path):
    encoded = encode_pairs(load_tokenizer(llama), pairs, max_length=256)
    return KnownPairs(encoded, pairs, swapped_N=np.zeros(len(pairs), np.bool_), work=tmp_path)


def bound_of(known, seed=0, **settings):
    return columns(known, settings=Settings(**settings), seed=seed)["bound"]


def view_of(delta_B, bound, target=1.0):
    zero = torch.zeros_like(delta_B)
    return View(delta_B, zero, zero + target, margin_B=zero, columns={"bound": zero + bound})


@pytest.mark.parametrize(
    ("beta1", "beta3", "expected"),
    [
        (10.0, -5.0, [4.99, 6.10, 7.48, 9.27, 14.96, 34.84]),
        (20.0, -15.0, [4.98, 7.20, 9.97, 13.53, 24.92, 64.68]),
        (30.0, -25.0, [4.97, 8.30, 12.45, 17.80, 34.88, 94.52]),
    ],
)
def test_the_bound_is_the_published_one(beta1, beta3, expected):
    similarity_N = np.array([1.0, 0.9, 0.8, 0.7, 0.5, 0.25])
    found = bounds(similarity_N, beta1=beta1, beta2=0.001, beta3=beta3)
    np.testing.assert_allclose(found, expected, atol=0.005)
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("bound", [1.0, 5.0, 12.0])
def test_with_bradley_terry_the_best_gap_is_half_of_the_bound(bound):
    delta_B = torch.linspace(0, bound, 2001, dtype=torch.float64)
    both = bradley_terry(delta_B) + loss(view_of(delta_B, bound), settings=Settings())
    assert delta_B[both.argmin()].item() == pytest.approx(bound / 2)
    torch.testing.assert_close(both, both.flip(0))


def test_a_far_bound_leaves_the_base_loss():
    delta_B = torch.linspace(-20, 20, 9)
    assert loss(view_of(delta_B, 1e4), settings=Settings()).max() == 0.0
    assert torch.isfinite(loss(view_of(1e4 * delta_B, 5.0), settings=Settings())).all()


def test_a_soft_target_bounds_the_gap_on_both_sides():
    delta_B = torch.tensor([2.0])
    over, under = (loss(view_of(sign * delta_B, 5.0), settings=Settings()) for sign in (1, -1))
    soft = loss(view_of(delta_B, 5.0, target=0.75), settings=Settings())
    torch.testing.assert_close(soft, 0.75 * over + 0.25 * under)


def test_lengths_are_counted_from_the_first_token_that_differs(tmp_path):
    encoded = [
        EncodedPair((1, 7, 8, 3, 2), (1, 7, 8, 4, 5, 6, 7, 2), num_prefix=3, num_cut=0),
        EncodedPair((1, 5, 2), (1, 6, 2), num_prefix=1, num_cut=9),
        EncodedPair((1, 7, 2), (1, 7, 2), num_prefix=3, num_cut=0),
    ]
    known = KnownPairs(encoded, [], swapped_N=np.zeros(3, np.bool_), work=tmp_path)
    expected = bounds(np.array([2 / 5, 1.0, 1.0]), beta1=10.0, beta2=0.001, beta3=-5.0)
    np.testing.assert_allclose(bound_of(known), expected, rtol=1e-6)
    np.testing.assert_allclose(bound_of(known, beta1=8.0, beta3=-2.0)[1], 8 / 1.001 - 2, rtol=1e-6)


def test_the_cosine_prior_is_the_angle_between_the_texts_of_a_frozen_encoder(
    known, pairs, tiny_bert, tmp_path
):
    texts = [[p.prompt + side for p in pairs for side in (p.chosen, p.rejected)]]
    vectors = sentence_vectors(ModelConfig(path=tiny_bert), texts, work=tmp_path / "other")
    similarity_N = angular_similarity(vectors[::2], vectors[1::2])
    expected = bounds(similarity_N, beta1=20.0, beta2=0.001, beta3=-15.0)
    found = bound_of(known, prior="cosine", encoder=tiny_bert)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.ptp(found) > 0.01
    turned = replace(known, swapped_N=np.ones(len(pairs), np.bool_))
    again = bound_of(turned, prior="cosine", encoder=tiny_bert)
    np.testing.assert_allclose(again, found, rtol=1e-6)


def test_the_encoder_is_read_by_the_cosine_prior_alone():
    assert reads(Settings(prior="cosine", encoder="here")) == {"encoder": "here"}
    assert all(reads(Settings(prior=prior)) == {} for prior in ("length", "fixed", "random"))


def test_the_bounds_to_compare_with_know_nothing_of_the_pairs(known):
    assert set(bound_of(known, prior="fixed")) == {4.5}
    assert set(bound_of(known, prior="fixed", bound=3.0)) == {3.0}
    drawn = bound_of(known, prior="random", seed=1)
    assert ((drawn >= 4) & (drawn <= 5)).all()
    assert len(set(drawn)) == len(drawn)
    assert not np.array_equal(drawn, bound_of(known, prior="random", seed=2))
    assert set(bound_of(known, prior="random", low=6.0, high=6.0)) == {6.0}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bound": 3.0}, "prior is length, which does not read bound; .* choose prior fixed"),
        ({"prior": "fixed", "beta1": 3.0}, "choose prior length or cosine"),
        ({"prior": "random", "low": 5.0, "high": 4.0}, "low is 5 and high is 4"),
        ({"beta1": 3.0, "beta3": -3.0}, "most alike answers by -0.003; .* beta1 . beta3 above 0"),
        ({"prior": "lenght"}, "Input should be 'length', 'cosine', 'fixed' or 'random'"),
        ({"beta2": 0.0}, "greater than 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        Settings(**settings)
