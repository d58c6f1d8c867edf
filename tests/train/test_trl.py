"""TRL's own RewardTrainer, on our export, computes our loss."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from tamis.data.export import export_pairs
from tamis.losses.bradley_terry import bradley_terry
from tamis.models.head import output_layer
from tamis.models.load import load_reward_model
from tamis.models.rows.plan import RowPlan
from tamis.models.source import quiet
from tamis.models.tokenise import load_tokenizer
from tamis.terms import centring
from tamis.train.collate import make_collate
from tamis.train.dataset import training_set
from tamis.train.objective import WeightedTerm, base_objective
from tamis.types import Verdict

STRENGTH = [1.5, -0.75, 0.25, -2.0, 3.0, -1.0]


def judge(arm: str, mu: float, pair_id: str) -> Verdict:
    flipped = mu < 0
    target = 0.0 if flipped and arm in ("flip", "flip + margin") else 1.0
    margin = mu if arm in ("margin", "flip + margin") else 0.0
    return Verdict(pair_id, target=target, margin=margin)


def trl_loss(model, tokenizer, export, work, **settings) -> float:
    rows = [json.loads(line) for line in export.read_text(encoding="utf-8").splitlines()]
    columns = [name for name in ("prompt", "chosen", "rejected", "margin") if name in rows[0]]
    data = Dataset.from_list([{key: row[key] for key in columns} for row in rows])
    arguments = RewardConfig(
        output_dir=str(work),
        per_device_train_batch_size=len(rows),
        report_to="none",
        max_length=None,
        bf16=False,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        use_cpu=True,
        **settings,
    )
    with quiet():
        trainer = RewardTrainer(model, arguments, train_dataset=data, processing_class=tokenizer)
        batch = next(iter(trainer.get_train_dataloader()))
        with torch.no_grad():
            return float(trainer.compute_loss(model, batch))


@pytest.mark.parametrize("coefficient", [None, 0.3])
@pytest.mark.parametrize("arm", ["keep", "flip", "margin", "flip + margin"])
def test_trls_loss_on_the_export_is_ours(any_model, pairs, tmp_path, arm, coefficient):
    assert any(not pair.prompt for pair in pairs)  # an export without prompts, then
    model = load_reward_model(any_model, seed=4)
    tokenizer = load_tokenizer(any_model)
    with torch.no_grad():  # gaps of a trained size, so that a wrong sign cannot hide
        output_layer(model).weight.mul_(50)
    centre = partial(centring.loss, settings=centring.Settings())
    terms = [] if coefficient is None else [WeightedTerm("centring", coefficient, centre)]
    verdicts = [judge(arm, mu, pair.id) for mu, pair in zip(STRENGTH, pairs, strict=True)]
    data = training_set(pairs, verdicts, tokenizer=tokenizer, max_length=256)
    collate = make_collate(data, pad_id=tokenizer.pad_token_id, plan=RowPlan("padded", ""))
    batch = collate([np.arange(len(pairs))])
    with torch.no_grad():
        outcome = base_objective(bradley_terry, terms=terms)(model, batch)
    ours = float(outcome.loss_B.mean())
    assert outcome.delta_B.abs().max() > 0.05
    export = tmp_path / "export.jsonl"
    export_pairs(export, pairs, verdicts, strict=True)
    centred = {"center_rewards_coefficient": coefficient}
    theirs = trl_loss(model, tokenizer, export, tmp_path / "trl", **centred)
    assert theirs == pytest.approx(ours, rel=1e-6, abs=1e-6)
