"""The objective on a batch of TRL's, against TRL's own losses and by hand."""

import datasets
import numpy as np
import pytest
import torch
from aligning import config_of, wordy

from tamis.models.source import quiet
from tamis.policy.align.arguments import dpo_arguments
from tamis.policy.align.assemble import assemble
from tamis.policy.align.brought import encode_brought, rows_of, with_reference
from tamis.policy.align.config import AlignConfig
from tamis.policy.align.dataset import policy_set
from tamis.policy.align.objective import JUDGED, mean_states
from tamis.policy.align.trainer import PolicyTrainer, Step
from tamis.policy.align.view import Brought
from tamis.policy.load import load_policy
from tamis.types import Verdict

NOTHING = 1e-30  # a term with coefficient 0 is left out


@pytest.fixture(scope="module")
def made(llama, tmp_path_factory):
    """A trainer whose policy is not its reference, its pairs, and rows of a batch."""
    work = tmp_path_factory.mktemp("objective")
    model, tokenizer = load_policy(llama)
    pairs = wordy(4)
    data = policy_set(
        pairs,
        [Verdict(pair.id) for pair in pairs],
        tokenizer=tokenizer,
        max_length=128,
        smoothing=0.0,
        work=work,
    )
    with quiet():
        trainer = PolicyTrainer(
            model,
            args=dpo_arguments(config_of(), max_length=128, num_pairs=4, seed=0, work=work),
            train_dataset=datasets.Dataset.from_file(str(data.rows)),
            processing_class=tokenizer,
        )
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=draw)
    return trainer, data, tokenizer


def step_of(data, config, *, columns=None, texts=None, reads_states=False):
    return Step(assemble(config).objective, data, columns or {}, texts or {}, reads_states)


def ours(made, config, *, target=1.0, rows=slice(None), **more):
    """Our loss of a batch, with all targets as given."""
    trainer, data, _ = made
    collate = trainer.data_collator
    trainer.take(step_of(data, config, **more))
    try:
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)[rows]])
        batch[JUDGED]["target"] = torch.full_like(batch[JUDGED]["target"], target)
        return trainer._compute_loss(trainer.model, batch, False)
    finally:
        trainer._step, trainer.data_collator = None, collate


def theirs(made, *, rows=slice(None), loss_type="sigmoid", smoothing=0.0):
    """TRL's loss of the same batch."""
    trainer = made[0]
    trainer.loss_types, trainer.label_smoothing = [loss_type], smoothing
    try:
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)[rows]])
        return trainer._compute_loss(trainer.model, batch, False)
    finally:
        trainer.loss_types, trainer.label_smoothing = ["sigmoid"], 0.0


def test_bradley_terry_is_dpo(made):
    torch.testing.assert_close(ours(made, AlignConfig()), theirs(made), atol=1e-6, rtol=0)
    assert theirs(made).item() != pytest.approx(0.693147, abs=1e-3)


def test_noise_corrected_is_robust_dpo(made):
    config = AlignConfig(loss="noise_corrected", loss_settings={"flip_rate": 0.2})
    wanted = theirs(made, loss_type="robust", smoothing=0.2)
    torch.testing.assert_close(ours(made, config), wanted, atol=1e-6, rtol=0)


def test_hinge_is_trls_hinge(made):
    wanted = theirs(made, loss_type="hinge")
    torch.testing.assert_close(ours(made, AlignConfig(loss="hinge")), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("row", range(2))
def test_a_target_below_one_is_label_smoothing(made, row):
    # of a batch of one, aot sorts nothing, and smooths its labels
    rows = slice(row, row + 1)
    wanted = theirs(made, rows=rows, loss_type="aot", smoothing=0.3)
    found = ours(made, AlignConfig(), target=0.7, rows=rows)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_gradients_are_those_of_dpo(made):
    trainer = made[0]
    grads = []
    for loss in (ours(made, AlignConfig()), theirs(made)):
        trainer.model.zero_grad()
        loss.backward()
        grads.append([weight.grad.clone() for weight in trainer.model.parameters()])
    for first, second in zip(*grads, strict=True):
        torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-5)


def brought_of(made, tmp_path, *, which):
    texts = [(pair.prompt, pair.chosen) for pair in wordy(4)]
    found = Brought(texts, np.array(which))
    return encode_brought(found, tokenizer=made[2], max_length=128, work=tmp_path)


def test_texts_that_a_term_brings_change_nothing_of_the_pairs(made, tmp_path):
    encoded = brought_of(made, tmp_path, which=[[3], [3], [-1], [0]])
    config = AlignConfig(terms={"rpo": {"coefficient": NOTHING}})
    found = ours(made, config, texts={"rpo": encoded}, reads_states=True)
    torch.testing.assert_close(found, theirs(made), atol=1e-5, rtol=0)


def test_a_text_reads_the_same_beside_pairs_as_in_one(made, tmp_path):
    """The texts here are the better answers of the pairs, so that their numbers are known."""
    trainer, data, _ = made
    encoded = brought_of(made, tmp_path, which=[[0, 1], [1, -1], [2, 2], [-1, -1]])
    assert encoded.answer(2).ids == data.encoded[2].chosen
    seen = []
    config = AlignConfig(terms={"rpo": {}})
    step = step_of(data, config, texts={"rpo": encoded}, reads_states=True)
    spy = Step(
        lambda computed, batch: seen.append((computed, batch)) or step.objective(computed, batch),
        *(data, {}, {"rpo": encoded}, True),
    )
    collate = trainer.data_collator
    trainer.take(spy)
    try:
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
        trainer._compute_loss(trainer.model, batch, False)
    finally:
        trainer._step, trainer.data_collator = None, collate
    computed, batch = seen[0]
    place = batch["brought"]["place"]["rpo"]
    assert place.tolist() == [[0, 1], [1, -1], [2, 2], [-1, -1]]
    of_texts, of_pairs = computed.log_prob_UT.sum(1), computed.log_prob_QT[:3].sum(1)
    torch.testing.assert_close(of_texts, of_pairs, atol=1e-4, rtol=1e-6)
    mask = batch["brought"]["completion_mask"]
    inputs = {name: batch["brought"][name] for name in ("input_ids", "attention_mask")}
    alone = trainer.model.base_model(**inputs).last_hidden_state
    torch.testing.assert_close(computed.state_UTD, alone, atol=1e-5, rtol=1e-4)
    assert mean_states(alone, mask).shape == (3, 32)


def test_what_the_reference_says_is_computed_once_and_kept(made, tmp_path):
    encoded = brought_of(made, tmp_path, which=[[0], [1], [-1], [3]])
    calls = []

    def count(answers):
        calls.append(len(answers))
        return np.arange(len(answers), dtype=np.float64)

    for _ in range(2):
        known = with_reference(encoded, count, work=tmp_path / "kept")
    assert calls == [4]
    batch = rows_of({"some": known}, [3, 2, 1])
    assert batch["reference"]["some"].tolist() == [[3.0], [0.0], [1.0]]
    assert batch["place"]["some"].tolist() == [[0], [-1], [1]]


def test_a_batch_to_which_nothing_comes_is_empty(made, tmp_path):
    encoded = brought_of(made, tmp_path, which=[[-1]] * 4)
    config = AlignConfig(terms={"rpo": {"coefficient": NOTHING}})
    found = ours(made, config, texts={"rpo": encoded}, reads_states=True)
    torch.testing.assert_close(found, theirs(made), atol=1e-6, rtol=0)
