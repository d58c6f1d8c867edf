"""SimCSE and SwAV against their formulas.

Shapes: S sequences, N samples, K prototypes, D hidden.
"""

import math

import pytest
import torch
from pydantic import ValidationError
from readings import vectors_of, view_of
from torch.nn.functional import cosine_similarity, normalize

from tamis.models.config import ModelConfig
from tamis.terms import simcse, swav
from tamis.terms.contrast import cosines, sample_set
from tamis.terms.view import Beginning

SIDES = [(0, 1), (0, 2), (3, 4)]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prototypes(num=4, size=6, queue=8, seed=0):
    return swav.Prototypes(num, size=size, queue=queue, seed=seed).double()


def simcse_of(vectors, **settings):
    return simcse.loss(view_of(vectors=vectors), settings=simcse.Settings(**settings))


def test_simcse_is_equation_9():
    views_2SD = draw(2, 5, 6)
    found_B = simcse_of(vectors_of(views_2SD, SIDES), temperature=0.3)
    h_s, h_t = views_2SD
    sample_N = []
    for i in range(5):
        likeness = [torch.exp(cosine_similarity(h_s[i], h_t[j], dim=0) / 0.3) for j in range(5)]
        sample_N.append(-torch.log(likeness[i] / sum(likeness)))
    expected = [(sample_N[c] + sample_N[r]) / 2 for c, r in SIDES]
    torch.testing.assert_close(found_B, torch.stack(expected))


def test_identical_views_cost_nothing_at_temperature_0():
    views_2SD = draw(1, 5, 6).repeat(2, 1, 1)
    for on in ("pairs", "differences"):
        losses = [
            simcse_of(vectors_of(views_2SD, SIDES), on=on, temperature=t).max().item()
            for t in (1.0, 0.1, 1e-3)
        ]
        assert losses[0] > losses[1] > losses[2]
        assert losses[2] < 1e-12


def test_differences_are_closed_under_negation():
    views_2SD = draw(2, 5, 6)
    # the last two are one pair, turned, and one is there twice
    vectors = vectors_of(views_2SD, [(0, 1), (0, 2), (3, 4), (4, 3), (0, 1)])
    samples_2ND, own_B2 = sample_set(vectors, on="differences")
    assert samples_2ND.shape == (2, 6, 6)
    for view_ND in samples_2ND:
        distance_NN = torch.cdist(view_ND, -view_ND)
        assert (distance_NN.min(dim=1).values == 0).all()
    for pair, (c, r) in enumerate([(0, 1), (0, 2), (3, 4), (4, 3), (0, 1)]):
        plus, minus = own_B2[pair]
        assert torch.equal(samples_2ND[:, plus], views_2SD[:, c] - views_2SD[:, r])
        assert torch.equal(samples_2ND[:, minus], -samples_2ND[:, plus])
    assert own_B2[2].tolist() == own_B2[3].flip(0).tolist()


def test_a_text_that_pairs_share_is_one_sample():
    samples_2ND, own_B2 = sample_set(vectors_of(draw(2, 5, 6), SIDES), on="pairs")
    assert samples_2ND.shape[1] == 5
    assert own_B2.tolist() == [list(sides) for sides in SIDES]


@pytest.mark.parametrize("on", ["pairs", "differences"])
def test_the_gradient_of_simcse_is_that_of_finite_differences(on):
    views_2SD = draw(2, 5, 6).requires_grad_()

    def loss(views_2SD):
        return simcse_of(vectors_of(views_2SD, SIDES), on=on, temperature=0.5)

    assert torch.autograd.gradcheck(loss, views_2SD)


def test_cosines_are_not_rounded_under_autocast():
    first, second = draw(4, 6).float(), draw(3, 6, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = cosines(first, second)
    torch.testing.assert_close(found, cosines(first, second), rtol=0, atol=0)


@pytest.mark.parametrize(("num_samples", "num_prototypes"), [(40, 5), (12, 50), (5, 5)])
def test_codes_sum_to_1_and_use_prototypes_evenly(num_samples, num_prototypes):
    cosine_NK = cosines(draw(num_samples, 6), draw(num_prototypes, 6, seed=1))
    share = num_samples / num_prototypes
    spread = []
    for iterations in (1, 3, 200):
        code_NK = swav.sinkhorn(cosine_NK, epsilon=0.05, iterations=iterations)
        torch.testing.assert_close(code_NK.sum(1), torch.ones(num_samples, dtype=torch.float64))
        assert (code_NK >= 0).all()
        spread.append((code_NK.sum(0) - share).abs().max().item() / share)
    alone = torch.softmax(cosine_NK / 0.05, dim=1).sum(0)
    assert spread[0] < (alone - share).abs().max().item() / share
    assert spread[1] < 1.0
    assert spread[2] < 0.01


def test_codes_are_finite_whatever_epsilon():
    cosine_NK = cosines(draw(9, 6).float(), draw(4, 6, seed=1).float())
    for epsilon in (1e-4, 10.0):
        assert torch.isfinite(swav.sinkhorn(cosine_NK, epsilon=epsilon, iterations=3)).all()


@pytest.mark.parametrize("on", ["pairs", "differences"])
def test_swav_is_equations_7_and_8(on):
    views_2SD, module = draw(2, 5, 6), prototypes(num=3)
    settings = swav.Settings(on=on, prototypes=3, temperature=0.2, epsilon=0.1, iterations=2)
    vectors = vectors_of(views_2SD, SIDES)
    found_B = swav.loss(view_of(vectors=vectors, module=module), settings=settings)
    samples_2ND, own_B2 = sample_set(vectors, on=on)
    unit_2ND, unit_KD = normalize(samples_2ND, dim=-1), normalize(module.weight_KD, dim=-1)
    score_s, score_t = unit_2ND @ unit_KD.T
    q_s, q_t = (swav.sinkhorn(s, epsilon=0.1, iterations=2) for s in (score_s, score_t))
    log_p_s, log_p_t = (torch.log_softmax(s / 0.2, dim=1) for s in (score_s, score_t))
    loss_N = -(q_s * log_p_t).sum(1) - (q_t * log_p_s).sum(1)
    torch.testing.assert_close(found_B, loss_N[own_B2].mean(1))


def test_the_gradient_of_swav_is_that_of_finite_differences_at_fixed_codes():
    views_2ND = draw(2, 5, 6).requires_grad_()
    weight_KD = draw(3, 6, seed=1).requires_grad_()
    code_2NK = torch.softmax(draw(2, 5, 3, seed=2), dim=-1)

    def loss(views_2ND, weight_KD):
        return swav.swapped_prediction(cosines(views_2ND, weight_KD) / 0.3, codes_2NK=code_2NK)

    assert torch.autograd.gradcheck(loss, (views_2ND, weight_KD))
    # and the term's own gradient takes its codes as fixed
    module, vectors = prototypes(num=3), vectors_of(views_2ND, SIDES)
    settings = swav.Settings(prototypes=3, temperature=0.3)
    term = swav.loss(view_of(vectors=vectors, module=module), settings=settings)[2]
    found = torch.autograd.grad(term, (views_2ND, module.weight_KD))
    cosine_2NK = cosines(views_2ND, module.weight_KD)
    codes = [swav.sinkhorn(part, epsilon=0.05, iterations=3) for part in cosine_2NK.detach()]
    fixed_N = swav.swapped_prediction(cosine_2NK / 0.3, codes_2NK=torch.stack(codes))
    wanted = torch.autograd.grad((fixed_N[3] + fixed_N[4]) / 2, (views_2ND, module.weight_KD))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_the_queue_holds_the_newest_samples_and_counts_where_a_batch_is_small():
    module = prototypes(num=7, queue=8)
    settings = swav.Settings(prototypes=7)
    batches = [draw(2, 5, 6, seed=seed) for seed in range(3)]
    for views_2SD in batches:
        swav.loss(view_of(vectors=vectors_of(views_2SD, SIDES), module=module), settings=settings)
    newest = torch.cat([batches[2], batches[1][:, :3]], dim=1)
    torch.testing.assert_close(module.queued(), normalize(newest, dim=-1))
    view = view_of(vectors=vectors_of(batches[0], SIDES), module=module)
    module.train(False)
    found_B = swav.loss(view, settings=settings)
    torch.testing.assert_close(module.queued(), normalize(newest, dim=-1))  # no push in evaluation
    seen_2NK = cosines(torch.cat([batches[0], newest], dim=1), module.weight_KD)
    codes = [swav.sinkhorn(part, epsilon=0.05, iterations=3)[:5] for part in seen_2NK]
    loss_N = swav.swapped_prediction(seen_2NK[:, :5] / 0.1, codes_2NK=torch.stack(codes))
    own = torch.tensor(SIDES)
    torch.testing.assert_close(found_B, loss_N[own].mean(1))
    # a batch that is large enough does without
    few = prototypes(num=3, queue=8)
    few.push(draw(2, 4, 6, seed=9))
    fresh = prototypes(num=3, queue=8)
    settings = swav.Settings(prototypes=3)
    losses = [
        swav.loss(view_of(vectors=view.vectors, module=m), settings=settings) for m in (few, fresh)
    ]
    torch.testing.assert_close(losses[0], losses[1])


def test_the_published_settings_are_the_defaults():
    assert simcse.Settings().coefficient == 1.0
    assert (swav.Settings().coefficient, swav.Settings().num_prototypes()) == (0.1, 50)
    differences = swav.Settings(on="differences")
    assert (differences.coefficient, differences.num_prototypes()) == (0.5, 20)
    assert swav.Settings(on="differences", coefficient=0.2).coefficient == 0.2
    assert swav.Settings(on="pairs").coefficient == 0.1
    beginning = Beginning(ModelConfig(path="none"), hidden_size=6, seed=3)
    made, again = (swav.module(beginning, settings=swav.Settings()) for _ in range(2))
    assert made.weight_KD.shape == (50, 6)
    assert made.queue_2QD.shape == (2, 100, 6)
    assert torch.equal(made.weight_KD, again.weight_KD)
    assert swav.module(beginning, settings=swav.Settings(queue=0)).queue_2QD.shape == (2, 0, 6)


def test_without_a_queue_small_batches_have_codes_of_their_own():
    module = swav.Prototypes(50, size=6, queue=0, seed=0).double()
    view = view_of(vectors=vectors_of(draw(2, 5, 6), SIDES), module=module)
    for _ in range(2):
        loss_B = swav.loss(view, settings=swav.Settings(queue=0))
    assert torch.isfinite(loss_B).all()
    assert loss_B.max() < 2 * math.log(50) + 20


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"on": "texts"}])
def test_settings_that_make_no_sense_are_refused(wrong):
    for kind in (simcse.Settings, swav.Settings):
        with pytest.raises(ValidationError):
            kind(**wrong)
