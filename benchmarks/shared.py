"""What several benchmarks set up alike: options, the model, pairs that fit, and TRL's trainer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from tamis.data import DataConfig, prepare
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.tokenise import encode_pairs, fit_problem, load_tokenizer, pad_id_of
from tamis.studies.decoder import smollm2_checkpoint
from tamis.types import Pair

HH = ("hh_helpful_base", "hh_harmless_base")
BATCH = 16


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that these benchmarks have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="folder of the preference files")
    parser.add_argument("--models", type=Path, default=Path("runs/models"))
    parser.add_argument("--num-layers", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=512)
    return parser


def model_of(options: argparse.Namespace) -> ModelConfig:
    """Return SmolLM2, cut to so many layers; its checkpoint is written where it is new."""
    path = smollm2_checkpoint(options.models)
    return ModelConfig(path=str(path), max_length=options.max_length, num_layers=options.num_layers)


def pairs_of(options: argparse.Namespace, *sources: str) -> list[Pair]:
    """Return all pairs of some files, in file order."""
    return [
        pair
        for source in sources
        for pair in prepare(DataConfig(path=str(options.data / f"{source}.jsonl.gz"))).pairs
    ]


def fitting(pairs: Sequence[Pair], model: ModelConfig) -> list[Pair]:
    """Return the pairs that the model reads whole."""
    tokenizer = load_tokenizer(model)
    max_length = int(tokenizer.model_max_length)
    encoded = encode_pairs(tokenizer, pairs, max_length=max_length)
    return [
        pair
        for pair, ids in zip(pairs, encoded, strict=True)
        if fit_problem(ids, max_length=max_length) is None
    ]


def trl_trainer(
    pairs: Sequence[Pair], config: ModelConfig, *, work: Path, **arguments: Any
) -> RewardTrainer:
    """Return TRL's trainer of all weights on pre-tokenised pairs, in float32, 16 pairs a step."""
    tokenizer = load_tokenizer(config)
    max_length = int(tokenizer.model_max_length)
    model = load_reward_model(config, seed=0, pad_token_id=pad_id_of(tokenizer))
    encoded = encode_pairs(tokenizer, pairs, max_length=max_length)
    data = Dataset.from_dict(
        {
            "chosen_ids": [list(pair.chosen) for pair in encoded],
            "rejected_ids": [list(pair.rejected) for pair in encoded],
        }
    )
    settings = RewardConfig(
        output_dir=str(work),
        per_device_train_batch_size=BATCH,
        max_length=max_length,
        optim="adamw_torch_fused",
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **arguments,
    )
    return RewardTrainer(model, settings, train_dataset=data, processing_class=tokenizer)
