"""The language model head of a decoder against the model's own logits.

Shapes: Q tokens that are predicted, D hidden, V vocabulary.
"""

import pytest
import torch
from rows_families import DECODERS, SIZES
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    CohereConfig,
    CohereForCausalLM,
    LlamaModel,
)

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.models.language import LanguageHead, load_language_head, next_log_probs
from tamis.models.source import quiet


@pytest.fixture(scope="session")
def language_models(tmp_path_factory):
    """Saves tiny random language models by name, and returns the folder of one."""
    folder = tmp_path_factory.mktemp("language")

    def path(name, **changes):
        where = folder / f"{name}{'-'.join(changes)}"
        if not where.is_dir():
            with torch.random.fork_rng(devices=[]), quiet():
                torch.manual_seed(0)
                config = DECODERS[name].__class__(**(DECODERS[name].to_dict() | changes))
                AutoModelForCausalLM.from_config(config).save_pretrained(where)
        return ModelConfig(path=str(where))

    return path


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True}),
        ("gpt2", {}),
        ("phi", {}),
        ("gemma2", {"final_logit_softcapping": 0.5}),
    ],
)
def test_log_probabilities_are_those_of_the_model(language_models, name, changes):
    config = language_models(name, **changes)
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(config.path).train(False)
        head = load_language_head(config)
    ids_ST = torch.randint(1, 97, (3, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = torch.log_softmax(model(input_ids=ids_ST).logits[:, :-1], dim=-1)
        states = model.base_model(input_ids=ids_ST).last_hidden_state[:, :-1].flatten(0, 1)
    target_Q = ids_ST[:, 1:].flatten()
    found_Q = next_log_probs(
        head, states, target_Q, embeddings_VD=model.get_input_embeddings().weight
    )
    expected_Q = expected.flatten(0, 1).gather(1, target_Q[:, None])[:, 0]
    torch.testing.assert_close(found_Q, expected_Q, rtol=1e-5, atol=1e-5)
    assert (head.weight_VD is None) == (name in ("gpt2", "gemma2") or bool(changes))
    assert (head.bias_V is None) == (name != "phi")
    assert not list(head.parameters())
    assert not head.state_dict()


class CountingHead(LanguageHead):
    """Remembers of how many tokens it was asked for at a time, at most."""

    most = 0

    def forward(self, states_QD, embeddings_VD):
        self.most = max(self.most, len(states_QD))
        return super().forward(states_QD, embeddings_VD)


def test_logits_are_never_there_for_all_tokens():
    draw = torch.Generator().manual_seed(0)
    states_QD = torch.randn(50, 8, generator=draw, requires_grad=True)
    weight_VD = torch.randn(200, 8, generator=draw, requires_grad=True)
    target_Q = torch.randint(0, 200, (50,), generator=draw)
    head = CountingHead(weight_VD=None, bias_V=None, softcap=None)
    saved = []

    def keep(tensor):
        saved.append(tensor.numel())
        return tensor

    found = {}
    for chunk_logits in (50 * 200, 7 * 200, 1):
        head.most = 0
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            log_prob_Q = next_log_probs(
                head, states_QD, target_Q, embeddings_VD=weight_VD, chunk_logits=chunk_logits
            )
        gradients = torch.autograd.grad(log_prob_Q.sum(), (states_QD, weight_VD))
        assert head.most == max(1, chunk_logits // 200)
        assert max(saved, default=0) <= weight_VD.numel()
        found[chunk_logits] = (log_prob_Q.detach(), *gradients)
    whole = torch.log_softmax(states_QD @ weight_VD.T, dim=-1)[torch.arange(50), target_Q]
    wanted = (whole.detach(), *torch.autograd.grad(whole.sum(), (states_QD, weight_VD)))
    for parts in found.values():
        for one, other in zip(parts, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_no_tokens_have_no_log_probabilities():
    head = LanguageHead(weight_VD=None, bias_V=None, softcap=None)
    empty = torch.zeros(0, dtype=torch.int64)
    found = next_log_probs(head, torch.zeros(0, 8), empty, embeddings_VD=torch.zeros(5, 8))
    assert found.shape == (0,)


def test_a_head_in_half_precision_computes_likelihoods_in_float32():
    head = LanguageHead(weight_VD=torch.randn(20, 8).to(torch.bfloat16), bias_V=None, softcap=None)
    logits = head(torch.randn(3, 8), torch.zeros(20, 8))
    assert logits.dtype == torch.float32


def test_an_encoder_has_no_language_model_head(tiny_bert, tmp_path):
    with pytest.raises(ConfigError, match=r"lacks \d+ weights, 'cls"):
        load_language_head(ModelConfig(path=tiny_bert))
    with quiet():
        BertLMHeadModel(BertConfig.from_pretrained(tiny_bert)).save_pretrained(tmp_path / "mlm")
    with pytest.raises(ConfigError, match="reads texts in both directions; expected a decoder"):
        load_language_head(ModelConfig(path=str(tmp_path / "mlm")))


def test_a_model_whose_head_was_dropped_says_so(language_models, tmp_path):
    with quiet():
        LlamaModel(DECODERS["llama"]).save_pretrained(tmp_path / "trunk")
    with pytest.raises(ConfigError, match=r"lacks 1 weights, 'lm_head.weight' first"):
        load_language_head(ModelConfig(path=str(tmp_path / "trunk")))


def test_logits_that_are_more_than_a_head_are_refused(tmp_path):
    sizes = {key: value for key, value in SIZES.items() if key != "head_dim"}
    with quiet():
        CohereForCausalLM(CohereConfig(**sizes, logit_scale=0.5)).save_pretrained(tmp_path / "c")
    with pytest.raises(ConfigError, match="logits of CohereForCausalLM are more than its language"):
        load_language_head(ModelConfig(path=str(tmp_path / "c")))
