"""The documentation names every loss and term with its defaults, and its example is a term."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tamis import plugins
from tamis.models.tokenise import EncodedPair
from tamis.terms.pcrm import BETAS
from tamis.terms.view import KnownPairs
from tamis.train.assemble import assemble
from tamis.train.config import ObjectiveConfig, TrainConfig
from tamis.train.reading import Reading

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def training():
    return (DOCS / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", plugins.available("loss"))
def test_every_loss_has_a_row_with_settings_and_boundedness(training, name):
    (row,) = re.findall(rf"^\| `{name}` \| .* \|(.*)\| (yes|no) \|$", training, re.M)
    parameters = inspect.signature(plugins.load("loss", name)).parameters.values()
    has_default = [p for p in parameters if p.default is not p.empty]
    expected = ", ".join(f"`{p.name}` {p.default:g}" for p in has_default)
    bounded = "yes" if plugins.offered("loss", name, "BOUNDED") else "no"
    assert (row[0].strip(), row[1]) == (expected, bounded)


@pytest.mark.parametrize("name", plugins.available("term"))
def test_every_term_has_a_row_with_its_coefficient(training, name):
    (coefficient,) = re.findall(rf"^\| `{name}` \| .* \| (\S+) \| .* \|$", training, re.M)
    assert float(coefficient) == plugins.offered("term", name, "Settings")().coefficient


def test_what_is_given_as_published_is_what_the_recipe_has(training):
    (example,) = re.findall(r"As published for gemma-2b-it.*?```yaml\n(.*?)```", training, re.S)
    path = DOCS.parent / "configs" / "recipes" / "grm-unified-feedback-gemma-2b.yaml"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))["train"]
    del recipe["compute"]  # how it is computed there
    assert yaml.safe_load(example)["train"] == recipe


def test_the_priors_have_their_published_settings(training):
    for prior, (beta1, beta3) in BETAS.items():
        assert re.search(rf"^\| `{prior}` \| .* \| {beta1:g}, {beta3:g} \|$", training, re.M)


def test_the_example_is_a_term(tmp_path, monkeypatch):
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    (example,) = re.findall(r'^```python\n("""Pull the gaps.*?)^```', text, re.M | re.S)
    (tmp_path / "docs_terms").mkdir()
    (tmp_path / "docs_terms" / "length_gap.py").write_text(example, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    name = "docs_terms.length_gap"
    terms = {name: {"coefficient": 0.1, "power": 2}}
    assembled = assemble(TrainConfig(objective=ObjectiveConfig(terms=terms, base_coefficient=0.0)))
    encoded = [EncodedPair((1, 5, 6, 2), (1, 2), 1, 0), EncodedPair((1, 5, 2), (1, 6, 2), 1, 0)]
    known = KnownPairs(encoded, [], swapped_N=np.zeros(2, np.bool_), work=tmp_path)
    columns = assembled.known(known, seed=0)
    assert columns[name]["share"].tolist() == [0.25, 0.0]
    outcome = assembled.objective(Scores(), {**judged(2), "columns": tensors(columns)})
    torch.testing.assert_close(outcome.loss_B, torch.tensor([0.1 * 0.25 * 4.0, 0.0]))


class Scores(torch.nn.Module):
    """A model that scores the texts of two pairs as 2, 3, 0, 1."""

    def forward(self, input_ids, attention_mask):
        """Return a logit a row."""
        return Logits(torch.tensor([[2.0], [3.0], [0.0], [1.0]])[: len(input_ids)])


class Logits:
    """What a model returns."""

    def __init__(self, logits):
        self.logits = logits


def judged(num_pairs):
    """Return a batch of pairs of short texts, each with its own sides."""
    one = torch.ones(num_pairs)
    places = torch.arange(num_pairs)
    ids = torch.ones(2 * num_pairs, 3, dtype=torch.int64)
    sides = {"chosen": places, "rejected": places + num_pairs}
    numbers = {"labels": one, "margin": 0 * one, "weight": one}
    return {"input_ids": ids, "attention_mask": ids, **sides, **numbers}


def tensors(columns):
    return {
        term: {name: torch.from_numpy(value_N) for name, value_N in own.items()}
        for term, own in columns.items()
    }


def test_a_reading_at_several_places_is_averaged_by_pair():
    one_P = torch.ones(5)
    reading = Reading(one_P, one_P, one_P[:2], one_P[:2], pair_P=torch.tensor([0, 0, 0, 1, 1]))
    assert reading.spread(torch.tensor([4.0, 7.0])).tolist() == [4.0, 4.0, 4.0, 7.0, 7.0]
    assert reading.mean(torch.tensor([1.0, 2.0, 6.0, 1.0, 0.0])).tolist() == [3.0, 0.5]
