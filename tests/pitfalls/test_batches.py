"""Scores and gradients do not depend on how sequences are put into batches.

Equality of one process and several needs real processes, and is tested with the trainer
(`tests/train`); what one process can show of it is here. Shapes: N pairs.
"""

import json

import numpy as np
import pytest

from tamis.models.checkpoint import load_scorer, save_checkpoint
from tamis.models.config import ModelConfig
from tamis.models.score import score_pairs, score_sequences
from tamis.models.tokenise import encode_pairs, load_tokenizer, pad_id_of
from tamis.train.config import TrainConfig
from tamis.train.fit import fit
from tamis.train.order import epoch_batches, micro_batches
from tamis.types import Verdict

BUDGETS = (1, 150, 10**6)


@pytest.fixture
def scorer(model_config, load_spread, tmp_path):
    """A checkpoint as a user loads it, with scores that lie far apart."""
    tokenizer = load_tokenizer(model_config)
    save_checkpoint(load_spread(model_config), tokenizer, tmp_path / "rm", card={})
    return load_scorer(str(tmp_path / "rm"))


@pytest.fixture
def sequences(scorer, talks):
    encoded = encode_pairs(scorer.tokenizer, talks, max_length=64)
    return list(dict.fromkeys(side for pair in encoded for side in (pair.chosen, pair.rejected)))


def score(scorer, sequences, **options):
    return score_sequences(scorer.model, sequences, pad_id=pad_id_of(scorer.tokenizer), **options)


@pytest.fixture
def alone(scorer, sequences):
    """Each score from a call of its own: no batch mates, no padding."""
    found = np.concatenate([score(scorer, [ids]) for ids in sequences])
    assert np.ptp(found) > 0.2
    return found


@pytest.mark.parametrize("batch_tokens", BUDGETS)
def test_batch_size_changes_no_score(scorer, sequences, alone, batch_tokens):
    """Batch-size invariance: one by one, in small batches and in one, to 1e-4 in float32."""
    found = score(scorer, sequences, batch_tokens=batch_tokens)
    np.testing.assert_allclose(found, alone, atol=1e-4)


@pytest.mark.parametrize("batch_tokens", BUDGETS)
def test_packed_attention_a_changed_neighbour_changes_no_other_score(
    scorer, sequences, alone, batch_tokens
):
    """Packed attention leaks: one sequence is another one, longer or shorter; no score follows."""
    middle = len(sequences) // 2
    end = sequences[0][-1:]
    for other in ((*sequences[middle][:-1], 7, 8, 9, *end), (*sequences[0][:2], *end)):
        changed = [*sequences[:middle], other, *sequences[middle + 1 :]]
        found = score(scorer, changed, batch_tokens=batch_tokens)
        assert abs(found[middle] - alone[middle]) > 1e-3
        kept = np.arange(len(sequences)) != middle
        np.testing.assert_allclose(found[kept], alone[kept], atol=1e-4)


@pytest.mark.parametrize("batch_tokens", BUDGETS)
def test_odd_last_batch_permuting_the_sequences_permutes_the_scores(
    scorer, sequences, alone, batch_tokens
):
    """Odd last batch: no order and no number of sequences moves a score to another row."""
    rng = np.random.default_rng(0)
    for num in (1, 2, 5, len(sequences) - 1, len(sequences)):
        order = rng.permutation(len(sequences))[:num]
        found = score(scorer, [sequences[i] for i in order], batch_tokens=batch_tokens)
        np.testing.assert_allclose(found, alone[order], atol=1e-4)


@pytest.mark.parametrize("batch_tokens", BUDGETS)
def test_odd_last_batch_permuting_and_turning_pairs_turns_their_scores(scorer, talks, batch_tokens):
    """Odd last batch: chosen and rejected are told apart by the pair, never by their place."""
    options = {"max_length": 64, "batch_tokens": batch_tokens}
    straight = score_pairs(scorer.model, scorer.tokenizer, talks, max_length=64)
    order = np.random.default_rng(1).permutation(len(talks))[:-1]
    turned = [talks[i].swapped() for i in order]
    found = score_pairs(scorer.model, scorer.tokenizer, turned, **options)
    assert np.abs(straight.chosen_N - straight.rejected_N).min() > 1e-3
    np.testing.assert_allclose(found.chosen_N, straight.rejected_N[order], atol=1e-4)
    np.testing.assert_allclose(found.rejected_N, straight.chosen_N[order], atol=1e-4)


def test_odd_last_batch_holds_as_many_pairs_as_the_others():
    """Odd last batch: of 17 pairs in batches of 8, none is left with one pair."""
    batches = epoch_batches(["g"] * 17, batch_size=8, sampler="shuffle", seed=0, epoch=0)
    assert sorted(map(len, batches)) == [5, 6, 6]
    assert sorted(np.concatenate(batches).tolist()) == list(range(17))
    parts = micro_batches(batches, num_micro=2)
    assert sorted(np.concatenate(parts).tolist()) == list(range(17))


@pytest.fixture(scope="module")
def trained(talks, tmp_path_factory):
    """Runs three steps of eight pairs, with micro-batches of the given size."""

    def run(config: ModelConfig, micro: int):
        path = tmp_path_factory.mktemp("accumulated")
        verdicts = [
            Verdict(pair.id, target=0.9, margin=0.1, weight=[1.0, 0.5, 3.0][row % 3])
            for row, pair in enumerate(talks)
        ]
        train = TrainConfig.model_validate(
            {
                "batch_size": 8,
                "max_steps": 3,
                "epochs": 9,
                "learning_rate": 1e-3,
                "optimiser": {"warmup_frac": 0.0},
                "compute": {"micro_batch_size": micro, "save_every": 3},
            }
        )
        report = fit(
            talks, verdicts, model=config, train=train, seed=0, work=path / "w", out=path / "rm"
        )
        state = json.loads((path / "w" / "checkpoint-3" / "trainer_state.json").read_text())
        norms = [entry["grad_norm"] for entry in state["log_history"] if "grad_norm" in entry]
        scorer = load_scorer(str(path / "rm"))
        scores = score_pairs(scorer.model, scorer.tokenizer, talks, max_length=64)
        return report["loss"], norms, scores.chosen_N - scores.rejected_N

    return run


def test_gradient_accumulation_of_one_by_eight_is_eight_by_one(decoder, trained):
    """Gradient accumulation scale: losses, gradients and gaps of parts and of the whole.

    Distributed metrics: eight pairs in parts of 3, 3 and 2 log the loss and accuracy of the eight.
    """
    whole = trained(decoder, 8)
    for micro in (1, 3):
        small = trained(decoder, micro)
        for name in ("loss", "accuracy"):
            found, expected = ([step[name] for step in run[0]] for run in (small, whole))
            assert found == pytest.approx(expected, abs=1e-5)
        assert len(small[1]) == 3
        assert small[1] == pytest.approx(whole[1], rel=1e-4)
        np.testing.assert_allclose(small[2], whole[2], atol=1e-4)
