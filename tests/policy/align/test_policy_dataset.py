"""Pairs as a policy reads them."""

import datasets
import pytest
from aligning import config_of, wordy

from tamis.errors import ConfigError, DataError
from tamis.models.source import quiet
from tamis.policy.align.arguments import dpo_arguments
from tamis.policy.align.assemble import assemble
from tamis.policy.align.config import OBJECTIVES, AlignConfig, preset
from tamis.policy.align.dataset import policy_set
from tamis.policy.align.trainer import PolicyTrainer
from tamis.policy.load import load_policy
from tamis.types import Message, Pair, Verdict


@pytest.fixture
def make(llama, tmp_path):
    model, tokenizer = load_policy(llama)

    def make_set(pairs, verdicts=None, *, max_length=128, smoothing=0.0):
        found = policy_set(
            pairs,
            verdicts or [Verdict(pair.id) for pair in pairs],
            tokenizer=tokenizer,
            max_length=max_length,
            smoothing=smoothing,
            work=tmp_path,
        )
        return found, model, tokenizer

    return make_set


def test_token_ids_are_those_that_trl_makes(make, pairs, tmp_path):
    data, model, tokenizer = make([*wordy(6), *pairs], max_length=48)
    arguments = dpo_arguments(config_of(), max_length=48, num_pairs=4, seed=0, work=tmp_path)
    with quiet():
        rows = datasets.Dataset.from_file(str(data.rows))
        trainer = PolicyTrainer(
            model, args=arguments, train_dataset=rows, processing_class=tokenizer
        )
    assert len(trainer.train_dataset) == len(data.encoded)  # TRL leaves out no more
    for row, encoded in zip(trainer.train_dataset, data.encoded, strict=True):
        assert tuple(row["prompt_ids"] + row["chosen_ids"])[:48] == encoded.chosen
        assert tuple(row["prompt_ids"] + row["rejected_ids"])[:48] == encoded.rejected
    assert data.num_cut > 0


def test_what_cannot_be_used_is_left_out_and_named(make):
    first, second, third, fourth = wordy(4)
    bare = Pair("bare", (), first.chosen, first.rejected, row=4)
    long = Pair("long", (Message("user", "word " * 60),), first.chosen, first.rejected, row=5)
    more = [
        (Message("assistant", side.chosen[-1].content + end),)
        for side, end in ((first, " " * 9 + "fox " * 40), (first, " " * 9 + "fox " * 41))
    ]
    same = Pair("same", first.prompt, *more, row=6)
    pairs = [first, second, third, fourth, bare, long, same]
    verdicts = [Verdict(pair.id) for pair in pairs]
    verdicts[1] = Verdict("p1", weight=0.0, reason="drop")
    data, *_ = make(pairs, verdicts, max_length=64)
    assert [(item.row, item.kind) for item in data.left_out] == [
        (1, "weight_0"),
        (4, "no_prompt"),
        (5, "over_length"),
        (6, "identical_after_truncation"),
    ]
    assert data.source_N.tolist() == [0, 2, 3]
    with pytest.raises(DataError, match="no pair is left to align with: of 1 pairs"):
        make([bare])


def test_pairs_are_turned_towards_the_answer_believed_better(make):
    pairs = wordy(3)
    targets = (0.2, 1.0, 0.5)
    verdicts = [Verdict(p.id, target=t, margin=1.0) for p, t in zip(pairs, targets, strict=True)]
    data, *_ = make(pairs, verdicts)
    rows = datasets.Dataset.from_file(str(data.rows))
    assert data.swapped_N.tolist() == [True, False, False]
    assert rows[0]["chosen"][0]["content"] == pairs[0].rejected[-1].content
    assert data.target_N.tolist() == pytest.approx([0.8, 1.0, 0.5])
    assert data.margin_N.tolist() == [-1.0, 1.0, 1.0]
    assert not data.is_plain
    assert make(pairs)[0].is_plain


def test_labels_are_smoothed_once(make):
    pairs = wordy(2)
    data, *_ = make(pairs, [Verdict("p0"), Verdict("p1", target=0.0)], smoothing=0.1)
    assert data.target_N.tolist() == pytest.approx([0.9, 0.9])
    assert data.swapped_N.tolist() == [False, True]
    with pytest.raises(ConfigError, match="which is smoothed already"):
        make(pairs, [Verdict("p0"), Verdict("p1", target=0.7)], smoothing=0.1)


def test_rows_with_the_same_content_keep_their_file(make):
    first, again, other = (make(pairs)[0].rows for pairs in (wordy(3), wordy(3), wordy(2)))
    assert first == again
    assert first != other
    assert sorted(path.name for path in first.parent.iterdir()) == sorted([first.name, other.name])


def _named(name):
    """The settings of an objective, and the file that it cannot do without."""
    content = preset(name)
    if name == "aihf":
        content["terms"]["demonstrations"]["path"] = "demos.jsonl"
    return content


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_a_configuration(name):
    config = AlignConfig.model_validate(_named(name))
    assert assemble(config).is_plain == (name in ("dpo", "cdpo", "soft"))


def test_published_settings_are_the_presets():
    assert preset("rpo") == {
        "beta": 0.01,
        "terms": {"rpo": {"reduction": "sum", "coefficient": 0.005}},
        "fit": {"learning_rate": 5e-7, "optimiser": {"schedule": "cosine"}},
    }
    schedules = {
        name: AlignConfig.model_validate(_named(name)).fit.optimiser.schedule for name in OBJECTIVES
    }
    falling = {name for name, schedule in schedules.items() if schedule == "cosine"}
    assert falling == {"rpo", "rpo-mean", "pcrm", "pcrm-cosine"}
    for name in ("pcrm", "pcrm-cosine"):
        optimiser = AlignConfig.model_validate(_named(name)).fit.optimiser
        assert (optimiser.warmup_frac, optimiser.betas) == (0.0, (0.9, 0.95))
    rates = {
        name: AlignConfig.model_validate(_named(name)).fit.learning_rate for name in OBJECTIVES
    }
    slow = {name for name, rate in rates.items() if rate == 5e-7}
    assert slow == {"rpo", "rpo-mean", "aihf"}
    assert {rates[name] for name in rates.keys() - slow} == {1e-6}
    assert preset("rpo-mean")["beta"] == 0.5
    assert preset("robust")["loss_settings"] == {"flip_rate": 0.1}
    preset("rpo")["terms"]["rpo"]["coefficient"] = 7
    assert preset("rpo")["terms"]["rpo"]["coefficient"] == 0.005
    with pytest.raises(ConfigError, match="unknown objective 'ppo'; expected one of dpo, cdpo"):
        preset("ppo")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"label_smoothing": 0.1, "loss": "noise_corrected"}, "both allow for wrong labels"),
        ({"base_coefficient": 0}, "nothing is minimised"),
        ({"fit": {"lora": {"rank": 2, "quantise": "nf4"}}}, "quantise is nf4"),
        ({"fit": {"lora": {"part": "head"}}}, "are for reward heads"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        AlignConfig.model_validate(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"loss": "plackett_luce"}, "ranks all answers to a prompt"),
        ({"terms": {"grm": {}}}, r"terms\.grm reads tokens of a reward model"),
        ({"terms": {"simcse": {}}}, r"terms\.simcse reads views of a reward model"),
        ({"terms": {"pcmr": {}}}, "unknown term 'pcmr'; expected one of demonstrations, pcrm"),
        ({"terms": {"rpo": {"beta": 1}}}, r"unknown key 'terms\.rpo\.beta'; expected one of coef"),
        ({"terms": {"rpo": {"coefficient": -1}}}, r"key 'terms\.rpo\.coefficient' is -1"),
        ({"terms": {"demonstrations": {}}}, r"terms\.demonstrations: path is missing"),
    ],
)
def test_what_a_policy_cannot_minimise_is_refused(content, message):
    with pytest.raises(ConfigError, match=message):
        assemble(AlignConfig.model_validate(content))


def test_terms_of_reward_models_that_read_scores_work_unchanged():
    found = assemble(AlignConfig(terms={"centring": {}, "tamis.terms.pcrm": {}}))
    assert list(found.columns) == ["tamis.terms.pcrm"]
    assert not found.is_plain


def test_micro_batches_divide_a_batch(tmp_path):
    config = config_of(fit__compute={"micro_batch_size": 3})
    with pytest.raises(ConfigError, match="choose a micro_batch_size that divides it"):
        dpo_arguments(config, max_length=8, num_pairs=4, seed=0, work=tmp_path)
