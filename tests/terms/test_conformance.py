"""What every term has to satisfy; a new file in the folder is tested without an edit here."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from readings import vectors_of

from tamis import plugins
from tamis.models.tokenise import encode_pairs, load_tokenizer
from tamis.terms.view import Beginning, KnownPairs, TermSettings, Tokens, View

NAMES = plugins.available("term")
# those that read more have a test of their own: some let no gradient through all they read
OF_SCORES = [name for name in NAMES if plugins.offered("term", name, "needs") is None]
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
    is_swapped_N = np.zeros(len(pairs), np.bool_)
    return KnownPairs(encoded, pairs, swapped_N=is_swapped_N, work=tmp_path, model=llama)


def needs_of(name, settings):
    ask = plugins.offered("term", name, "needs")
    return set() if ask is None else ask(settings)


def made_up_tokens():
    """Six pairs of texts of three tokens that part after the first."""
    draw = torch.Generator().manual_seed(0)
    states_TD = torch.randn(36, 32, generator=draw, requires_grad=True)
    embeddings_VD = torch.randn(50, 32, generator=draw)
    ids = [[1, 5 + text, 2] for text in range(12)]
    places = [range(3 * text, 3 * text + 3) for text in range(12)]
    sides = (range(6), range(6, 12))
    return Tokens(states_TD, embeddings_VD, ids, places, *map(list, sides), start_B=[1] * 6)


@pytest.fixture
def view(name, settings, known, llama):
    make = plugins.offered("term", name, "columns")
    made = {} if make is None else make(known, settings=settings, seed=0)
    needs, module = needs_of(name, settings), plugins.offered("term", name, "module")
    draw = torch.Generator().manual_seed(0)
    views_2SD = torch.randn(2, 12, 32, generator=draw, requires_grad=True)
    beginning = Beginning(llama, hidden_size=32, seed=0)
    return View(
        vectors=vectors_of(views_2SD, [(n, n + 6) for n in range(6)]) if "views" in needs else None,
        tokens=made_up_tokens() if "tokens" in needs else None,
        module=module and module(beginning, settings=settings).train(False),
        score_chosen_B=SCORES.clone().requires_grad_(),
        score_rejected_B=SCORES.flip(0).clone().requires_grad_(),
        target_B=torch.tensor([1.0, 0.9, 0.5, 1.0, 0.7, 1.0]),
        margin_B=torch.tensor([0.0, 1.0, -1.0, 0.0, 0.5, 0.0]),
        columns={column: torch.from_numpy(value_N) for column, value_N in made.items()},
    )


def loss_of(name, view, settings):
    return plugins.load("term", name)(view, settings=settings)


def test_the_folder_has_the_promised_terms():
    assert {"centring", "grm", "pcrm", "simcse", "swav"} <= set(NAMES)


def test_its_settings_have_a_coefficient_and_descriptions(settings):
    assert isinstance(settings, TermSettings)
    assert settings.coefficient > 0
    assert all(field.description for field in type(settings).model_fields.values())


def test_it_is_finite_and_per_pair(name, view, settings):
    loss_B = loss_of(name, view, settings)
    assert loss_B.shape == SCORES.shape
    assert loss_B.dtype == torch.float32
    sides = [view.score_chosen_B, view.score_rejected_B]
    sides += [view.vectors.views_2SD] if view.vectors else []
    sides += [view.tokens.states_TD] if view.tokens else []
    slopes = torch.autograd.grad(loss_B.sum(), sides, allow_unused=True)
    assert torch.isfinite(loss_B).all()
    assert any(slope is not None and slope.abs().max() > 0 for slope in slopes)
    assert all(torch.isfinite(slope).all() for slope in slopes if slope is not None)


def test_its_docstring_says_what_it_costs(name):
    assert "Cost: " in plugins.load("term", name).__doc__


@pytest.mark.parametrize("name", OF_SCORES)
def test_its_slopes_are_those_of_finite_differences(name, settings):
    def of(chosen_B, rejected_B):
        target_B = torch.tensor([1.0, 0.8, 0.5], dtype=torch.float64)
        columns = {"bound": torch.tensor([0.5, 2.0, 4.0], dtype=torch.float64)}
        view = View(chosen_B, rejected_B, target_B, 0 * target_B, columns)
        return loss_of(name, view, settings)

    draw = torch.Generator().manual_seed(0)
    sides = torch.randn(2, 3, generator=draw, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(of, tuple(sides.unbind()))


def test_a_pair_does_not_depend_on_its_batch(name, view, settings):
    if view.vectors:  # it is compared with the others
        return
    tokens = view.tokens and replace(
        view.tokens,
        chosen_B=view.tokens.chosen_B[1:2],
        rejected_B=view.tokens.rejected_B[1:2],
        start_B=view.tokens.start_B[1:2],
    )
    alone = View(
        tokens=tokens,
        module=view.module,
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
        vectors=view.vectors and turned(view.vectors),
        tokens=view.tokens and turned(view.tokens),
    )
    torch.testing.assert_close(loss_of(name, swapped, settings), loss_of(name, view, settings))


def turned(sides):
    return replace(sides, chosen_B=sides.rejected_B, rejected_B=sides.chosen_B)


def test_its_module_is_a_function_of_the_seed(name, settings, llama):
    make = plugins.offered("term", name, "module")
    if make is None:
        return
    beginning = Beginning(llama, hidden_size=32, seed=3)
    first, again = (make(beginning, settings=settings).state_dict() for _ in range(2))
    assert first.keys() == again.keys()
    assert all(torch.equal(value, again[key]) for key, value in first.items())


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
