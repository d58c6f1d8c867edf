"""What `accelerate launch` says of the weights, and which terms go with it."""

import pytest

from tamis.errors import ConfigError
from tamis.models.load import load_reward_model
from tamis.train.assemble import assemble
from tamis.train.config import ObjectiveConfig, TrainConfig, ViewsConfig
from tamis.train.equip import check_readable
from tamis.train.launched import hides_weights, spreads_weights

LAUNCHED = {
    "nobody": ({}, False, False),
    "ddp": ({"ACCELERATE_USE_FSDP": "false"}, False, False),
    "fsdp 1": ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, True, True),
    "fsdp of no version": ({"ACCELERATE_USE_FSDP": "true"}, True, True),
    "fsdp 2": ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, True, False),
    "deepspeed": ({"ACCELERATE_USE_DEEPSPEED": "true"}, True, True),
}


@pytest.mark.parametrize("case", LAUNCHED.values(), ids=LAUNCHED)
def test_terms_that_read_states_work_where_weights_are_not_hidden(case, llama, monkeypatch):
    given, spreads, hides = case
    for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "FSDP_VERSION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert (spreads_weights(), hides_weights()) == (spreads, hides)
    model = load_reward_model(llama, seed=0)
    for term in ("simcse", "grm"):
        assembled = assemble(TrainConfig(objective=ObjectiveConfig(terms={term: {}})))
        arguments = {"views": ViewsConfig(), "is_hidden": hides}
        if hides:
            with pytest.raises(ConfigError, match=rf"terms\.{term} reads states .* FSDP version 1"):
                check_readable(model, assembled, **arguments)
        else:
            check_readable(model, assembled, **arguments)
