"""A setting that a policy does not read is refused, and the policies that do are named."""

import numpy as np
import pytest

from tamis import plugins
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Strength, outside
from tamis.errors import ConfigError
from tamis.recipes.policies import policy_of

OTHERS = {
    "share": 0.3,
    "below": 0.3,
    "between": (0.0, 0.3),
    "alpha": 0.3,
    "margin": "clipped",
}
STRENGTH = Strength(
    np.array([-3.0, -2.0, -1.0, -0.5, -0.1, 0.1, 0.5, 1.0, 2.0, 3.0]),
    np.ones(10),
    np.linspace(0.9, 0.0, 10),
    np.array([[3.0, 1.0]] * 10),
)


@pytest.mark.parametrize("setting", OTHERS)
@pytest.mark.parametrize("policy", plugins.available("denoise"))
def test_a_setting_changes_the_decision_or_is_refused(policy, setting):
    config = DenoiseConfig(policy=policy, **{setting: OTHERS[setting]})
    plain = policy_of(DenoiseConfig(policy=policy))(STRENGTH, config=DenoiseConfig(policy=policy))
    if columns(plugins.load("denoise", policy)(STRENGTH, config=config)) == columns(plain):
        told = rf"^denoise.{setting} is .*, which policy {policy} does not read"
        with pytest.raises(ConfigError, match=told):
            policy_of(config)
    else:
        policy_of(config)


def columns(decision):
    return [decision.target_N.tolist(), decision.margin_N.tolist(), decision.weight_N.tolist()]


def test_who_reads_it_is_named():
    with pytest.raises(ConfigError, match=r"choose one of flip_margin, .*, margin, soft_margin$"):
        policy_of(DenoiseConfig(policy="flip", margin="clipped"))


def test_every_policy_may_be_asked_for_a_slice_alone():
    config = DenoiseConfig(policy="smooth", share=0.3, outside="drop")
    decision = outside(policy_of(config)(STRENGTH, config=config), STRENGTH, config=config)
    assert decision.weight_N.tolist() == [1, 1, 1, *[0] * 7]


def test_a_policy_of_ones_own_that_says_nothing_may_read_all(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    code = "def decide(strength, *, config): return config.alpha\n"
    (tmp_path / "mine" / "odd.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    config = DenoiseConfig(policy="mine.odd", alpha=0.3)
    assert policy_of(config)(None, config=config) == 0.3
