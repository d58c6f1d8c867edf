"""GRM's regularisers against the log-probabilities of transformers' own language models.

Shapes: B pairs of a batch, T tokens, D hidden, V vocabulary.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from readings import batch_of, encoded, view_of
from rows_families import DECODERS, PAD, sequences
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.models.language import LanguageHead, load_language_head
from tamis.models.load import load_language_model, load_reward_model
from tamis.models.rows.choose import choose_rows
from tamis.models.rows.forward import TreeForward
from tamis.models.rows.memory import remember_states
from tamis.models.source import quiet
from tamis.terms.grm import Settings, columns, loss, module, reads
from tamis.terms.likelihood import answer_log_probs, reference_log_probs
from tamis.terms.view import Beginning, KnownPairs, Tokens
from tamis.train.reading import read_last
from tamis.train.tokens import with_tokens

NAMES = ("llama", "gpt2")


@pytest.fixture(scope="module")
def language_models(tmp_path_factory):
    """Tiny random language models: one with output embeddings of its own, one without."""
    folder = tmp_path_factory.mktemp("language")
    for name in NAMES:
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(DECODERS[name]).save_pretrained(folder / name)
    return {name: ModelConfig(path=str(folder / name)) for name in NAMES}


@pytest.fixture(scope="module")
def pairs():
    """A pair, and four answers to one prompt, one of which another continues."""
    texts = sequences()
    group = texts[2:6]
    ranked = [encoded(a, b) for i, a in enumerate(group) for b in group[i + 1 :]]
    return [encoded(texts[0], texts[1]), *ranked, encoded(texts[8], texts[3])]


def expected_log_probs(config, pairs):
    """What transformers says of both sides of each pair, from where they part, [N, 2]."""
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(config.path).train(False)
    sums = []
    for pair in pairs:
        for ids in (pair.chosen, pair.rejected):
            text = torch.tensor([ids])
            with torch.no_grad():
                log_p_TV = torch.log_softmax(model(input_ids=text).logits[0], dim=-1)
            own_T = log_p_TV[:-1].gather(1, text[0, 1:, None])[:, 0]
            sums.append(own_T[pair.num_prefix - 1 :].sum())
    return torch.stack(sums).view(-1, 2)


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_as_likely_as_transformers_says_however_rows_are_laid_out(
    language_models, pairs, name
):
    config = language_models[name]
    wanted_B2 = expected_log_probs(config, pairs)
    with quiet():
        model = load_reward_model(config, seed=0, pad_token_id=PAD)
        head = load_language_head(config)
    gradients = {}
    for rows in ("shared", "packed", "padded"):
        plan = choose_rows(model, wanted=rows, max_length=128, states="all")
        reading = with_tokens(read_last)(model, batch_of(pairs, plan=plan))
        found = [answer_log_probs(reading.tokens, head, side=s) for s in ("chosen", "rejected")]
        torch.testing.assert_close(torch.stack(found, 1), wanted_B2, rtol=1e-5, atol=1e-5)
        model.zero_grad()
        view = view_of(tokens=reading.tokens, module=head)
        loss(view, settings=Settings()).sum().backward()
        gradients[rows] = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    for rows in ("shared", "packed"):
        assert gradients[rows].keys() == gradients["padded"].keys()
        for key, gradient in gradients["padded"].items():
            torch.testing.assert_close(gradients[rows][key], gradient, rtol=1e-4, atol=1e-5)


def test_the_scores_of_a_pass_that_keeps_tokens_are_the_same(language_models, pairs):
    with quiet():
        model = load_reward_model(language_models["llama"], seed=0, pad_token_id=PAD)
    plan = choose_rows(model, max_length=128, states="all")
    assert plan.kind == "shared"
    assert "last layer" not in plan.why
    kept = with_tokens(read_last)(model, batch_of(pairs, plan=plan))
    plan = choose_rows(model, max_length=128)
    assert "last layer" in plan.why
    plain = read_last(model, batch_of(pairs, plan=plan))
    torch.testing.assert_close(kept.chosen_B, plain.chosen_B)
    torch.testing.assert_close(kept.rejected_B, plain.rejected_B)


def tokens_of(states_TD, embeddings_VD):
    """Tokens of two pairs that share their chosen text; their states are given."""
    ids = [[1, 4, 2], [1, 4, 3, 2], [1, 0, 2]]
    places = [[0, 1, 2], [0, 1, 3, 4], [0, 5, 6]]
    return Tokens(states_TD, embeddings_VD, ids, places, [1, 1], [0, 2], [2, 1])


@pytest.fixture
def made_up():
    draw = torch.Generator().manual_seed(0)
    states_TD = torch.randn(7, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    weight_VD = torch.randn(5, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    return states_TD, weight_VD


HEAD = LanguageHead(weight_VD=None, bias_V=None, softcap=None)


def hand_computed(states_TD, weight_VD):
    log_p = torch.log_softmax(states_TD @ weight_VD.T, dim=-1)
    chosen_B = torch.stack([log_p[1, 3] + log_p[3, 2], log_p[0, 4] + log_p[1, 3] + log_p[3, 2]])
    rejected_B = torch.stack([log_p[1, 2], log_p[0, 0] + log_p[5, 2]])
    return chosen_B, rejected_B


def term(tokens, *, target=1.0, **settings):
    reference = {"reference": torch.tensor([0.3, -0.2], dtype=torch.float64)}
    view = view_of(tokens=tokens, module=HEAD, target=target, columns=reference)
    return loss(view, settings=Settings(**settings))


def test_each_form_is_what_it_says(made_up):
    tokens = tokens_of(*made_up)
    c, r = hand_computed(*made_up)
    expected = {
        "sft": -logsigmoid(0.1 * c),
        "nll": -c,
        "dpo": -logsigmoid(0.1 * (c - r)),
        "dpo_reference": -logsigmoid(0.1 * (c - r - torch.tensor([0.3, -0.2]).double())),
    }
    for form, wanted in expected.items():
        torch.testing.assert_close(term(tokens, form=form), wanted, check_dtype=False)
    wanted = -logsigmoid(0.5 * c)
    torch.testing.assert_close(term(tokens, beta=0.5), wanted, check_dtype=False)


def test_the_answer_believed_worse_is_never_written(made_up):
    tokens = tokens_of(*made_up)
    c, r = hand_computed(*made_up)
    for form in ("sft", "nll"):
        for target, share in ((1.0, 1.0), (0.6, 1.0), (0.5, 0.5), (0.4, 0.0)):
            found = term(tokens, target=target, form=form)
            sides = [-x if form == "nll" else -logsigmoid(0.1 * x) for x in (c, r)]
            wanted = share * sides[0] + (1 - share) * sides[1]
            torch.testing.assert_close(found, wanted, check_dtype=False)
    soft = term(tokens, target=0.75, form="dpo")
    z = 0.1 * (c - r)
    wanted = -0.75 * logsigmoid(z) - 0.25 * logsigmoid(-z)
    torch.testing.assert_close(soft, wanted, check_dtype=False)


def test_only_the_answers_that_are_asked_for_are_computed(made_up):
    class Counting(LanguageHead):
        num_rows = 0

        def forward(self, states_QD, embeddings_VD):
            self.num_rows += len(states_QD)
            return super().forward(states_QD, embeddings_VD)

    head = Counting(weight_VD=None, bias_V=None, softcap=None)
    tokens = tokens_of(*made_up)
    # the pairs share the better answer: three of its tokens, not five
    answer_log_probs(tokens, head, side="chosen")
    assert head.num_rows == 3
    found = answer_log_probs(tokens, head, side="rejected", wanted_B=[False, True])
    assert head.num_rows == 5
    assert found[0] == 0
    assert found[1] != 0


@pytest.mark.parametrize("form", ["sft", "nll", "dpo", "dpo_reference"])
def test_the_gradient_is_that_of_finite_differences(made_up, form):
    def of(states_TD, weight_VD):
        return term(tokens_of(states_TD, weight_VD), form=form, target=0.8)

    assert torch.autograd.gradcheck(of, made_up)


@pytest.fixture
def known(language_models, pairs, tmp_path):
    is_swapped_N = np.zeros(len(pairs), np.bool_)
    model = language_models["llama"]
    return KnownPairs(pairs, [], swapped_N=is_swapped_N, work=tmp_path, model=model)


def test_the_reference_is_the_starting_model_and_is_kept(known, pairs, tmp_path):
    wanted_N2 = expected_log_probs(known.model, pairs)
    found = columns(known, settings=Settings(form="dpo_reference"), seed=0)
    wanted_N = (wanted_N2[:, 0] - wanted_N2[:, 1]).numpy()
    np.testing.assert_allclose(found["reference"], wanted_N, rtol=1e-4, atol=1e-4)
    assert found["reference"].dtype == np.float32
    assert columns(known, settings=Settings(), seed=0) == {}
    (kept,) = tmp_path.glob("log-probs-*.npy")
    np.save(kept, np.ones((len(pairs), 2), np.float32))
    assert (reference_log_probs(known, model=known.model) == 1).all()
    cut = ModelConfig(path=known.model.path, num_layers=1)
    other = reference_log_probs(known, model=cut)
    assert len(list(tmp_path.glob("log-probs-*.npy"))) == 2
    assert not np.allclose(other, wanted_N2.numpy())


def test_the_reference_begins_where_remembered_layers_end(known, pairs, monkeypatch, tmp_path):
    model = load_language_model(known.model)
    choose_rows(model, max_length=128)
    texts = [ids for pair in pairs for ids in (pair.chosen, pair.rejected)]
    memory = remember_states(model, texts, first=1, folder=tmp_path)
    passes = []
    start = TreeForward.start
    monkeypatch.setattr(
        TreeForward, "start", lambda *a, **kw: passes.append(kw.get("first")) or start(*a, **kw)
    )
    remembering = replace(known, memory=memory)
    found_N2 = reference_log_probs(remembering, model=known.model)
    assert passes[-1] == 1
    wanted_N2 = expected_log_probs(known.model, pairs).numpy()
    np.testing.assert_allclose(found_N2, wanted_N2, rtol=1e-4, atol=1e-4)


def test_without_a_model_there_is_no_reference(known, tmp_path):
    nobody = KnownPairs(known.encoded, [], swapped_N=known.swapped_N, work=tmp_path)
    with pytest.raises(ConfigError, match="compares with the model that training starts from"):
        columns(nobody, settings=Settings(form="dpo_reference"), seed=0)


def test_the_module_is_the_head_of_the_starting_model(language_models):
    beginning = Beginning(language_models["llama"], hidden_size=32, seed=0)
    assert module(beginning, settings=Settings()).weight_VD.shape == (97, 32)


def as_reward_model(config, folder):
    """The checkpoint of a reward model that was made from a language model."""
    model = load_reward_model(config, seed=0, pad_token_id=PAD)
    model.save_pretrained(folder)
    return ModelConfig(path=str(folder))


def test_a_reward_model_predicts_with_the_head_of_the_model_it_was_made_from(
    known, language_models, pairs, tmp_path
):
    base = language_models["llama"]
    start = as_reward_model(base, tmp_path / "start")
    beginning = Beginning(start, hidden_size=32, seed=0)
    named = Settings(form="dpo_reference", language_model=base.path)
    expected = load_language_head(base)
    assert torch.equal(module(beginning, settings=named).weight_VD, expected.weight_VD)
    with pytest.raises(ConfigError, match=r"keeps none, name the model .* language_model"):
        module(beginning, settings=Settings())
    other = replace(beginning, hidden_size=64)
    with pytest.raises(ConfigError, match="reads states of 32 numbers, and this model's have 64"):
        module(other, settings=named)
    wanted_N2 = expected_log_probs(base, pairs)
    found = columns(replace(known, model=start), settings=named, seed=0)["reference"]
    wanted_N = (wanted_N2[:, 0] - wanted_N2[:, 1]).numpy()
    np.testing.assert_allclose(found, wanted_N, rtol=1e-4, atol=1e-4)
    assert reads(named) == {"language_model": base.path}
    assert reads(Settings()) == {}


def test_the_head_of_a_named_revision_is_read(monkeypatch):
    asked = []

    def load(config):
        asked.append((config.path, config.revision))
        return LanguageHead(weight_VD=None, bias_V=None, softcap=None)

    monkeypatch.setattr("tamis.terms.grm.load_language_head", load)
    beginning = Beginning(ModelConfig(path="start", revision="own"), hidden_size=8, seed=0)
    for name in (None, "org/model", "org/model@v1"):
        module(beginning, settings=Settings(language_model=name))
    assert asked == [("start", "own"), ("org/model", None), ("org/model", "v1")]
    assert reads(Settings(language_model="org/model@v1")) == {"language_model": "org/model"}


def test_the_published_settings_are_the_defaults():
    settings = Settings()
    assert (settings.coefficient, settings.beta, settings.form) == (0.01, 0.1, "sft")
    with pytest.raises(ValidationError):
        Settings(form="ppo")
    with pytest.raises(ValidationError, match="form nll reads no beta"):
        Settings(form="nll", beta=0.2)
