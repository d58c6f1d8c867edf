"""Figures of tokens that a trainer is made to log; the trainer is one that stands in."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from tamis.policy.rl.tokens import watching_tokens

POLICY_NT = torch.tensor([[-0.1, -0.2], [-0.3, -0.4]])
REFERENCE_NT = torch.tensor([[-1.0, -2.0], [-4.0, -99.0]])  # the last token is padding
MASK_NT = torch.tensor([[1, 1], [1, 0]])


class Trainer:
    """Asks as TRL's trainers do: of the policy first, and last of the reference, if at all.

    Of its two batches the second has one answer alone; a second process has three times as much.
    """

    def __init__(self, *, beta, training=True):
        self.beta, self.model = beta, SimpleNamespace(training=training)
        self.accelerator = SimpleNamespace(gather=lambda sums: torch.cat([sums, 3 * sums]))
        self._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}

    def _get_per_token_logps_and_entropies(self, model):
        return ({"policy": POLICY_NT, "reference": REFERENCE_NT}[model], None, None)

    def _generate_and_score_completions(self, inputs):
        self._get_per_token_logps_and_entropies("policy")
        if self.beta:
            self._get_per_token_logps_and_entropies("reference")
        return {"completion_mask": MASK_NT if inputs == "two" else MASK_NT[1:], "inputs": inputs}

    def _compute_loss(self, model, inputs):
        figures = self._metrics["train" if self.model.training else "eval"]
        figures["kl"].append(model)
        figures["entropy"].append(2 * model)
        figures["other"].append(model)
        return model

    def log(self, logs):
        figures = self._metrics["train" if self.model.training else "eval"]
        logs.update({name: sum(values) / len(values) for name, values in figures.items()})
        figures.clear()


def fit(trainer, *values):
    for value, inputs in zip(values, ("two", "one"), strict=False):
        made = trainer._generate_and_score_completions(inputs)
        assert made["inputs"] == inputs
        trainer._compute_loss(value, made)
    logs = {}
    trainer.log(logs)
    return logs


@pytest.mark.parametrize("training", [True, False])
def test_perplexity_is_over_the_tokens_of_all_answers_under_the_reference(training):
    logs = fit(watching_tokens(Trainer)(beta=0.1, training=training), 1.0)
    assert logs["perplexity"] == pytest.approx(math.exp(7.0 / 3), rel=1e-6)


def test_a_short_batch_counts_by_its_tokens():
    trainer = watching_tokens(Trainer)(beta=0.1, training=False)
    for _ in range(2):  # nothing is left over from the look before
        logs = fit(trainer, 1.0, 5.0)  # three tokens and one
        assert logs["kl"] == pytest.approx(2.0)
        assert logs["entropy"] == pytest.approx(4.0)
        assert logs["other"] == pytest.approx(3.0)


def test_losses_of_parts_are_weighted_by_the_parts():
    trainer = watching_tokens(Trainer)(beta=0.1)
    trainer._generate_and_score_completions("two")
    for value, mask_NT in ((1.0, MASK_NT[:1]), (4.0, MASK_NT[1:])):
        trainer._compute_loss(value, {"completion_mask": mask_NT})
    logs = {}
    trainer.log(logs)
    assert logs["kl"] == pytest.approx(2.0)  # two tokens and one
    assert logs["perplexity"] == pytest.approx(math.exp(7.0 / 3), rel=1e-6)


def test_without_a_reference_there_is_none():
    logs = fit(watching_tokens(Trainer)(beta=0.0), 1.0)
    assert "perplexity" not in logs
