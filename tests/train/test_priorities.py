"""What is drawn how often, and what it then weighs: pure functions."""

import itertools

import numpy as np
import pytest
from pydantic import ValidationError

from tamis.train.priorities import (
    beta_of_step,
    draw_probabilities,
    effective_size,
    importance_weights,
    likeness,
    residuals,
    stratified_draw,
)
from tamis.train.step_config import PriorityConfig

N = 200


@pytest.fixture
def residual_N():
    return np.random.default_rng(0).random(N)


def test_residuals_are_the_size_of_the_gradient_of_bradley_terry():
    delta_N, margin_N = np.array([0.0, 2.0, -2.0, 900.0, -900.0]), np.zeros(5)
    found = residuals(delta_N, target_N=np.ones(5), margin_N=margin_N)
    assert found == pytest.approx([0.5, 1 / (1 + np.e**2), 1 / (1 + np.e**-2), 0.0, 1.0])
    soft = residuals(np.array([1.5]), target_N=np.array([0.9]), margin_N=np.array([0.5]))
    assert soft == pytest.approx(abs(1 / (1 + np.e**-1) - 0.9))
    swapped = residuals(np.array([-1.5]), target_N=np.array([0.1]), margin_N=np.array([-0.5]))
    assert soft == pytest.approx(swapped)


def test_probabilities_are_clipped_powers_and_an_equal_share(residual_N):
    config = PriorityConfig(alpha=0.5, uniform_frac=0.2, least=0.1, most=0.8)
    found = draw_probabilities(residual_N, config=config)
    assert found.sum() == pytest.approx(1.0)
    priority_N = np.clip(residual_N, 0.1, 0.8) ** 0.5
    assert found == pytest.approx(0.8 * priority_N / priority_N.sum() + 0.2 / N)
    assert found.max() / found.min() < (0.8 / 0.1) ** 0.5
    assert found.min() > 0.2 / N


def test_alpha_0_draws_all_pairs_alike(residual_N):
    found = draw_probabilities(residual_N, config=PriorityConfig(alpha=0.0))
    assert found == pytest.approx(np.full(N, 1 / N))
    assert importance_weights(found, beta=0.4) == pytest.approx(np.ones(N))
    assert effective_size(found) == pytest.approx(N)


def test_an_equal_share_of_1_draws_all_pairs_alike(residual_N):
    found = draw_probabilities(residual_N, config=PriorityConfig(alpha=2.0, uniform_frac=1.0))
    assert (found == 1 / N).all()
    for beta in (0.0, 0.4, 1.0):
        assert importance_weights(found, beta=beta) == pytest.approx(np.ones(N), abs=1e-12)
    drawn_B = stratified_draw(found, size=2 * N, rng=np.random.default_rng(0))
    assert np.bincount(drawn_B, minlength=N) == pytest.approx(np.full(N, 2.0), abs=1)


def test_with_beta_1_the_expected_loss_of_a_draw_is_the_mean_loss(residual_N):
    probability_N = draw_probabilities(residual_N, config=PriorityConfig())
    loss_N = np.random.default_rng(1).random(N)
    weight_N = importance_weights(probability_N, beta=1.0)
    assert probability_N @ (weight_N * loss_N) == pytest.approx(loss_N.mean(), rel=1e-12)
    assert weight_N == pytest.approx(1 / (N * probability_N), rel=1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_the_expected_weight_is_1_at_every_beta(residual_N, beta):
    probability_N = draw_probabilities(residual_N, config=PriorityConfig())
    weight_N = importance_weights(probability_N, beta=beta)
    assert probability_N @ weight_N == pytest.approx(1.0)
    # hard pairs weigh less, or as much where nothing is taken back
    order = np.argsort(probability_N)
    assert (np.diff(weight_N[order]) <= 1e-12).all()


def expected_counts(probability_N, *, size, points=4000):
    """Return the expected number of draws of each pair, by enumerating the uniform numbers."""

    class Grid:
        def __init__(self, value):
            self.value = value

        def random(self, size):
            return np.full(size, self.value)

        def permutation(self, drawn_B):
            return drawn_B

    counts = np.zeros(len(probability_N))
    for value in (np.arange(points) + 0.5) / points:
        drawn_B = stratified_draw(probability_N, size=size, rng=Grid(value))
        counts += np.bincount(drawn_B, minlength=len(counts))
    return counts / points


def test_the_mean_over_all_draws_of_weight_times_loss_is_the_mean_loss(residual_N):
    residual_N = residual_N[:12]
    probability_N = draw_probabilities(residual_N, config=PriorityConfig(uniform_frac=0.05))
    counts = expected_counts(probability_N, size=8)
    assert counts == pytest.approx(8 * probability_N, abs=1e-3)
    loss_N = np.random.default_rng(1).random(12)
    weight_N = importance_weights(probability_N, beta=1.0)
    assert (counts / 8) @ (weight_N * loss_N) == pytest.approx(loss_N.mean(), abs=1e-3)


def test_a_draw_has_its_size_and_depends_on_the_generator_alone(residual_N):
    probability_N = draw_probabilities(residual_N, config=PriorityConfig())
    first, again, other = (
        stratified_draw(probability_N, size=32, rng=np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert len(first) == 32
    assert (first == again).all()
    assert (first != other).any()
    assert (np.diff(first) < 0).any()  # not in the order of the data


def features(residual_N):
    return [residual_N, np.arange(len(residual_N)) % 7]


def test_likeness_falls_as_draws_move_away_from_equal_ones(residual_N):
    found = []
    for alpha in (0.0, 0.5, 1.0, 2.0, 4.0):
        config = PriorityConfig(alpha=alpha, uniform_frac=0.01)
        probability_N = draw_probabilities(residual_N, config=config)
        rng = np.random.default_rng(0)
        found.append(likeness(probability_N, features(residual_N), rng=rng))
    assert found[0] == pytest.approx(1.0)
    assert all(a > b for a, b in itertools.pairwise(found))
    assert found[-1] > 0


def test_likeness_of_a_part_is_near_that_of_all():
    residual_N = np.random.default_rng(2).random(4000)
    probability_N = draw_probabilities(residual_N, config=PriorityConfig(alpha=2.0))
    values = [
        likeness(probability_N, features(residual_N), rng=np.random.default_rng(seed))
        for seed in range(8)
    ]
    assert np.std(values) < 0.1 * (1 - np.mean(values))


def test_pairs_that_are_all_alike_are_no_shift():
    probability_N = np.array([0.7, 0.1, 0.1, 0.1])
    rng = np.random.default_rng(0)
    assert likeness(probability_N, [np.ones(4), np.ones(4)], rng=rng) == pytest.approx(1.0)


def beta(config, residual_N, *, step=0, num_steps=11):
    probability_N = draw_probabilities(residual_N, config=config)
    return beta_of_step(
        config,
        step=step,
        num_steps=num_steps,
        probability_N=probability_N,
        feature_FN=features(residual_N),
        rng=np.random.default_rng(0),
    )


def test_beta_is_fixed_annealed_or_measured(residual_N):
    assert beta(PriorityConfig(beta=0.3), residual_N, step=7) == 0.3
    annealed = PriorityConfig(beta="annealed", beta_start=0.4)
    found = [beta(annealed, residual_N, step=step) for step in (0, 5, 10)]
    assert found == pytest.approx([0.4, 0.7, 1.0])
    assert beta(annealed, residual_N, step=0, num_steps=1) == 0.4
    near, far = (
        beta(PriorityConfig(beta="measured", alpha=alpha), residual_N) for alpha in (0.2, 3.0)
    )
    assert 0.4 < near < far < 1.0
    assert beta(PriorityConfig(beta="measured", alpha=0.0), residual_N) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"beta": "anealed"}, r"beta is 'anealed'; expected a number in \[0, 1\], annealed or"),
        ({"beta": 1.5}, r"beta is 1\.5; expected a number in \[0, 1\]"),
        ({"beta": True}, "beta is True; expected"),
        ({"beta": [1]}, r"beta is \[1\]; expected"),
        ({"least": 0.9, "most": 0.5}, r"least is 0\.9 and most is 0\.5"),
        ({"most": 1.0}, "less than 1"),
        ({"least": 0.0}, "greater than 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        PriorityConfig(**settings)
