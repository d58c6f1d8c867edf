"""Terms, coefficients and token-level comparison in the objective and in training."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from fitting import judged, learnable, run_fit, settings
from pydantic import ValidationError
from torch.nn.functional import softplus

from tamis.errors import ConfigError
from tamis.losses.bradley_terry import bradley_terry
from tamis.losses.hinge import hinge
from tamis.losses.reduce import pair_loss
from tamis.models.head import output_layer
from tamis.models.load import load_reward_model
from tamis.models.rows.plan import RowPlan
from tamis.models.score import score_pairs
from tamis.models.tokenise import load_tokenizer
from tamis.terms import centring, pcrm
from tamis.terms.view import KnownPairs
from tamis.train.assemble import assemble
from tamis.train.collate import make_collate
from tamis.train.dataset import training_set
from tamis.train.objective import WeightedTerm, base_objective
from tamis.train.reading import read_last, read_tokens
from tamis.types import Verdict

PADDED = RowPlan("padded", "")
CENTRING = WeightedTerm("centring", 0.5, partial(centring.loss, settings=centring.Settings()))
PCRM = WeightedTerm("pcrm", 2.0, partial(pcrm.loss, settings=pcrm.Settings()))


@pytest.fixture
def model(llama):
    loaded = load_reward_model(llama, seed=0)
    with torch.no_grad():  # scores of a trained size
        output_layer(loaded).weight.mul_(50)
    return loaded


@pytest.fixture
def batch_of(llama):
    """Makes one batch of all pairs."""

    def make(pairs, verdicts, columns=None):
        tokenizer = load_tokenizer(llama)
        data = training_set(pairs, verdicts, tokenizer=tokenizer, max_length=256)
        collate = make_collate(
            data, pad_id=tokenizer.pad_token_id, plan=PADDED, columns=columns or {}
        )
        return collate([np.arange(len(data.encoded))])

    return make


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_without_terms_the_objective_is_the_base_loss_bit_for_bit(model, batch_of):
    pairs = learnable(12)
    batch = batch_of(pairs, judged(pairs))
    outcome = base_objective(bradley_terry)(model, batch)
    found = gradients(model, outcome.loss_B.sum() / 12)
    reading = read_last(model, batch)
    expected_B = pair_loss(
        bradley_terry,
        reading.chosen_B - reading.rejected_B,
        target_B=batch["labels"],
        margin_B=batch["margin"],
        weight_B=batch["weight"],
    )
    assert torch.equal(outcome.loss_B, expected_B)
    expected = gradients(model, expected_B.sum() / 12)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_terms_are_added_with_their_coefficients_weights_and_own_columns(model, batch_of):
    pairs = learnable(12)
    bound_N = np.linspace(1, 5, 12, dtype=np.float32)
    columns = {"pcrm": {"bound": bound_N}, "other": {"bound": 0 * bound_N}}
    batch = batch_of(pairs, judged(pairs), columns)
    outcome = base_objective(hinge, coefficient=0.25, terms=[CENTRING, PCRM])(model, batch)
    c, r, weight, t = outcome.chosen_B, outcome.rejected_B, batch["weight"], batch["labels"]
    u = c - r - batch["margin"]
    base = t * (1 - u).clamp(min=0) + (1 - t) * (1 + u).clamp(min=0)
    bound = torch.from_numpy(bound_N)
    bounded = t * softplus(c - r - bound) + (1 - t) * softplus(r - c - bound)
    expected = weight * (0.25 * base + 0.5 * (c + r) ** 2 + 2.0 * bounded)
    torch.testing.assert_close(outcome.loss_B, expected)
    assert set(weight.tolist()) == {0.5, 1.0, 2.0}


def test_a_bound_takes_gaps_down_and_the_report_shows_it(llama, tmp_path):
    pairs = learnable()
    keep = [Verdict(pair.id) for pair in pairs]
    found = {}
    for name, terms in (
        ("plain", {}),
        ("pcrm", {"pcrm": {"prior": "fixed", "bound": 1.0}}),
        ("centring", {"centring": {"coefficient": 1.0}}),
    ):
        train = settings(max_steps=40, learning_rate=3e-3, objective__terms=terms)
        report, _ = run_fit(tmp_path / name, pairs, model=llama, train=train, verdicts=keep)
        assert json.loads(json.dumps(report)) == report
        assert report["objective"]["terms"] == terms
        assert report["score_scale"]["training"]["num_steps"] == 4
        found[name] = report["score_scale"]["training"]
    assert found["plain"]["mean_abs_delta"] > 1.5
    assert found["pcrm"]["mean_abs_delta"] < 1.0
    assert abs(found["centring"]["score_mean"]) < 0.1
    assert found["pcrm"]["score_std"] < found["plain"]["score_std"]


def test_the_scale_of_scores_is_that_of_both_sides(llama, tmp_path):
    pairs = learnable()
    train = settings(batch_size=30, max_steps=1, compute__micro_batch_size=7)
    report, _ = run_fit(tmp_path, pairs, model=llama, train=train)
    scores = score_pairs(
        load_reward_model(llama, seed=0), load_tokenizer(llama), pairs, max_length=256
    )
    both = np.concatenate([scores.chosen_N, scores.rejected_N]).astype(np.float64)
    scale = report["score_scale"]["training"]
    assert scale["num_steps"] == 1
    assert scale["score_mean"] == pytest.approx(both.mean(), abs=1e-6)
    assert scale["score_std"] == pytest.approx(both.std(), rel=1e-4)
    gap = np.abs(scores.chosen_N - scores.rejected_N).mean()
    assert scale["mean_abs_delta"] == pytest.approx(gap, rel=1e-4)


def test_the_scale_on_held_out_pairs_is_that_of_the_kept_step(llama, tmp_path):
    train = settings(watch__holdout_frac=0.3, watch__eval_every=2)
    report, _ = run_fit(tmp_path, learnable(), model=llama, train=train)
    assert set(report["score_scale"]["held_out"]) == {"mean_abs_delta", "score_mean", "score_std"}
    assert report["score_scale"]["held_out"]["mean_abs_delta"] > 0


@pytest.mark.parametrize("prior", ["length", "cosine", "random"])
def test_every_prior_is_computed_before_training(llama, tiny_bert, tmp_path, prior):
    pairs = learnable(8)
    term = {"prior": prior} | ({"encoder": tiny_bert} if prior == "cosine" else {})
    train = settings(max_steps=2, objective__terms={"pcrm": term})
    # a pair that is left out and one that is turned: numbers must still meet their pairs
    verdicts = [Verdict(pair.id) for pair in pairs]
    verdicts[0], verdicts[3] = Verdict("p0", weight=0.0), Verdict("p3", target=0.0)
    report, _ = run_fit(tmp_path, pairs, model=llama, train=train, verdicts=verdicts)
    assert report["num_pairs"] == 7
    assert report["num_swapped"] == 1


def test_columns_meet_their_pairs_where_some_are_left_out_and_turned(llama, tmp_path):
    pairs = learnable(8)
    verdicts = [Verdict(p.id, weight=float(n != 2), target=n % 2) for n, p in enumerate(pairs)]
    data = training_set(pairs, verdicts, tokenizer=load_tokenizer(llama), max_length=256)
    assert data.source_N.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert data.swapped_N.tolist() == [True, False, False, True, False, True, False]
    known = KnownPairs(
        encoded=data.encoded,
        pairs=[pairs[n] for n in data.source_N],
        swapped_N=data.swapped_N,
        work=tmp_path,
    )
    tokenizer = load_tokenizer(llama)
    texts = [tokenizer.decode(pair.chosen) for pair in data.encoded]
    for pair, text in zip(next(known.oriented()), texts, strict=True):
        assert pair.chosen[0].content.split()[0] in text


def test_a_batch_has_the_columns_of_its_own_pairs(llama):
    pairs, tokenizer = learnable(6), load_tokenizer(llama)
    data = training_set(pairs, judged(pairs), tokenizer=tokenizer, max_length=256)
    columns = {"pcrm": {"bound": np.arange(6, dtype=np.float32)}, "centring": {}}
    collate = make_collate(data, pad_id=tokenizer.pad_token_id, plan=PADDED, columns=columns)
    batch = collate([np.array([4, 1])])
    assert batch["columns"]["pcrm"]["bound"].tolist() == [4.0, 1.0]
    assert batch["columns"]["centring"] == {}
    assert batch["prefix"].tolist() == [data.encoded[n].num_prefix for n in (4, 1)]


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (
            {"terms": {"pcmr": {}}},
            r"train\.objective\.terms: unknown term 'pcmr'; expected one of centring, grm, pcrm",
        ),
        (
            {"terms": {"centring": {"coeficient": 1.0}}},
            r"unknown key 'train\.objective\.terms\.centring\.coeficient'; .*coefficient",
        ),
        (
            {"terms": {"pcrm": {"beta1": "steep"}}},
            r"key 'train\.objective\.terms\.pcrm\.beta1' is 'steep': Input should be a valid",
        ),
        ({"terms": {"pcrm": {"bound": 2.0}}}, "prior is length, which does not read bound"),
        ({"terms": {"tamis.denoise.flip": {}}}, "lacks the function 'loss'"),
        (
            {"loss_settings": {"gamma": 2.0}},
            r"train\.objective\.loss_settings: loss 'bradley_terry' has no setting 'gamma'",
        ),
    ],
)
def test_what_cannot_be_put_together_is_told_before_anything_is_loaded(objective, said):
    train = settings(objective={**settings().objective.model_dump(), **objective})
    with pytest.raises(ConfigError, match=said):
        assemble(train)


def test_nothing_to_minimise_is_refused():
    with pytest.raises(ValidationError, match="there are no terms, so nothing is minimised"):
        settings(objective__base_coefficient=0.0)


@pytest.fixture
def own_terms(tmp_path, monkeypatch):
    """A package of terms of the user's."""
    (tmp_path / "own_terms").mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, text):
        (tmp_path / "own_terms" / f"{name}.py").write_text(text)
        return f"own_terms.{name}"

    return make


def test_a_term_without_settings_is_named(own_terms):
    path = own_terms("bare", "def loss(view, *, settings):\n    return view.delta_B\n")
    with pytest.raises(ConfigError, match=r"'own_terms\.bare' lacks a class Settings made from"):
        assemble(settings(objective__terms={path: {}}))


def test_a_column_that_is_not_one_number_a_pair_is_named(own_terms, tmp_path):
    path = own_terms(
        "short",
        "import numpy as np\n"
        "from tamis.terms.view import TermSettings as Settings\n"
        "def loss(view, *, settings):\n    return view.delta_B\n"
        "def columns(known, *, settings, seed):\n    return {'x': np.zeros(1, np.float32)}\n",
    )
    assembled = assemble(settings(objective__terms={path: {}}))
    known = KnownPairs([None] * 2, [None] * 2, swapped_N=np.zeros(2, np.bool_), work=tmp_path)
    with pytest.raises(ConfigError, match="column 'x' is not one finite number for each of 2"):
        assembled.known(known, seed=0)


def reference_tokens(model, pair, pad_id):
    """Return the scores of both sides from where they part to the end of the longer one."""
    sides = (pair.chosen, pair.rejected)
    end = max(map(len, sides))
    ids = torch.tensor([[*side, *[pad_id] * (end - len(side))] for side in sides])
    mask = torch.tensor([[1] * len(side) + [0] * (end - len(side)) for side in sides])
    states = model.model(input_ids=ids, attention_mask=mask).last_hidden_state
    return model.score(states)[:, pair.num_prefix :, 0]


def test_tokens_are_compared_from_the_first_difference_to_the_end_of_the_longer_side(
    llama, model, pairs, batch_of
):
    tokenizer = load_tokenizer(llama)
    keep = [Verdict(pair.id) for pair in pairs]
    data = training_set(pairs, keep, tokenizer=tokenizer, max_length=256)
    bound_N = np.full(len(pairs), 2.0, np.float32)
    batch = batch_of(pairs, keep, {"pcrm": {"bound": bound_N}})
    one = WeightedTerm("pcrm", 1.0, PCRM.loss)
    outcome = base_objective(bradley_terry, terms=[one], read=read_tokens)(model, batch)
    lengths = []
    for pair, loss in zip(data.encoded, outcome.loss_B, strict=True):
        chosen_T, rejected_T = reference_tokens(model, pair, tokenizer.pad_token_id)
        gap_T = chosen_T - rejected_T
        published = softplus(-gap_T).mean() + softplus(gap_T - 2.0).mean()
        torch.testing.assert_close(loss, published, rtol=1e-4, atol=1e-5)
        lengths.append(len(gap_T))
    assert len(set(lengths)) > 2
    whole = read_last(model, batch)
    torch.testing.assert_close(outcome.delta_B, whole.chosen_B - whole.rejected_B)


@pytest.mark.parametrize("changes", [{}, {"lora__rank": 2}, {"compute__micro_batch_size": 2}])
def test_training_by_tokens_learns(llama, tmp_path, changes):
    pairs = learnable()
    train = settings(
        max_steps=20,
        learning_rate=3e-3,
        objective__form="token",
        objective__terms={"pcrm": {}},
        **changes,
    )
    keep = [Verdict(pair.id) for pair in pairs]
    report, _ = run_fit(tmp_path, pairs, model=llama, train=train, verdicts=keep)
    assert report["rows"]["kind"] == "padded"
    assert report["loss"][-1]["loss"] < report["loss"][0]["loss"]
    assert report["loss"][-1]["accuracy"] > 0.5


def test_encoders_have_no_scores_of_tokens(tiny_bert, llama, tmp_path):
    train = settings(objective__form="token")
    model = llama.model_copy(update={"path": tiny_bert, "max_length": 64})
    with pytest.raises(ConfigError, match=r"form is token, and Bert.* scores a text as a whole"):
        run_fit(tmp_path, learnable(8), model=model, train=train)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compute__rows": "shared"}, "form is token and rows is shared"),
        ({"compute__fsdp": "full_shard"}, "form is token and fsdp is full_shard"),
    ],
)
def test_what_tokens_cannot_be_combined_with_is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        settings(objective__form="token", **changes)
