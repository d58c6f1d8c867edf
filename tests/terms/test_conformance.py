"""What every term has to satisfy; a new file in the folder is tested without an edit here."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tamis import plugins
from tamis.models.tokenise import encode_pairs, load_tokenizer
from tamis.terms.view import KnownPairs, TermSettings, View

NAMES = plugins.available("term")
SCORES = torch.tensor([-1e4, -3.0, 0.0, 0.2, 5.0, 1e4])


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def settings(name):
    return plugins.offered("term", name, "Settings")()


@pytest.fixture
def known(llama, pairs, tmp_path):
    encoded = encode_pairs(load_tokenizer(llama), pairs, max_length=256)
    return KnownPairs(encoded, pairs, swapped_N=np.zeros(len(pairs), np.bool_), work=tmp_path)


@pytest.fixture
def view(name, settings, known):
    make = plugins.offered("term", name, "columns")
    made = {} if make is None else make(known, settings=settings, seed=0)
    return View(
        score_chosen_B=SCORES.clone().requires_grad_(),
        score_rejected_B=SCORES.flip(0).clone().requires_grad_(),
        target_B=torch.tensor([1.0, 0.9, 0.5, 1.0, 0.7, 1.0]),
        margin_B=torch.tensor([0.0, 1.0, -1.0, 0.0, 0.5, 0.0]),
        columns={column: torch.from_numpy(value_N) for column, value_N in made.items()},
    )


def loss_of(name, view, settings):
    return plugins.load("term", name)(view, settings=settings)


def test_the_folder_has_the_promised_terms():
    assert {"centring", "pcrm"} <= set(NAMES)


def test_its_settings_have_a_coefficient_and_descriptions(settings):
    assert isinstance(settings, TermSettings)
    assert settings.coefficient > 0
    assert all(field.description for field in type(settings).model_fields.values())


def test_it_is_finite_and_per_pair(name, view, settings):
    loss_B = loss_of(name, view, settings)
    assert loss_B.shape == SCORES.shape
    assert loss_B.dtype == torch.float32
    sides = (view.score_chosen_B, view.score_rejected_B)
    slopes = torch.autograd.grad(loss_B.sum(), sides, allow_unused=True)
    assert torch.isfinite(loss_B).all()
    assert any(slope is not None and slope.abs().max() > 0 for slope in slopes)
    assert all(torch.isfinite(slope).all() for slope in slopes if slope is not None)


def test_a_pair_does_not_depend_on_its_batch(name, view, settings):
    alone = View(
        score_chosen_B=view.score_chosen_B[1:2],
        score_rejected_B=view.score_rejected_B[1:2],
        target_B=view.target_B[1:2],
        margin_B=view.margin_B[1:2],
        columns={column: value_B[1:2] for column, value_B in view.columns.items()},
    )
    whole = loss_of(name, view, settings)
    torch.testing.assert_close(loss_of(name, alone, settings), whole[1:2])


def test_swapping_the_sides_leaves_it_unchanged(name, view, settings):
    swapped = replace(
        view,
        score_chosen_B=view.score_rejected_B,
        score_rejected_B=view.score_chosen_B,
        target_B=1 - view.target_B,
        margin_B=-view.margin_B,
    )
    torch.testing.assert_close(loss_of(name, swapped, settings), loss_of(name, view, settings))


def test_the_models_that_it_reads_are_named_by_their_settings(name, settings):
    reads = plugins.offered("term", name, "reads")
    if reads is None:
        return
    assert set(reads(settings)) <= set(type(settings).model_fields)


def test_its_columns_have_one_number_a_pair_and_depend_on_the_seed_alone(name, settings, known):
    make = plugins.offered("term", name, "columns")
    if make is None:
        return
    first, again = (make(known, settings=settings, seed=3) for _ in range(2))
    for column, value_N in first.items():
        assert value_N.dtype == np.float32
        assert value_N.shape == (len(known.pairs),)
        assert np.isfinite(value_N).all()
        np.testing.assert_array_equal(value_N, again[column])
