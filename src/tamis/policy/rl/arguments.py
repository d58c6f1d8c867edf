"""From our settings to those of TRL's trainers, and in which order prompts come.

Shapes: S prompts of a run, in the order in which they are answered.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.rloo_config import RLOOConfig

from tamis.errors import ConfigError, shorten
from tamis.policy.rl.config import RLConfig
from tamis.runs import num_processes
from tamis.train.arguments import PROJECT, adamw_arguments, use_one_device

KINDS = {"grpo": GRPOConfig, "rloo": RLOOConfig}
NUM_SAVES, LEAST_SAVE_EVERY = 10, 10
# TRL measures the divergence where it is penalised; float32 sums do not notice this much of it
MEASURED_ALONE = 1e-30
# what the layout of steps rests on
FIXED = ("steps_per_generation", "generation_batch_size", "num_generations_eval")
# names that TRL looks at in the first loss or later
NAMES: Mapping[str, tuple[str | bool, ...]] = {
    "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"),
    "importance_sampling_level": ("token", "sequence"),
    "scale_rewards": ("group", "batch", "none", True, False),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "vllm_importance_sampling_mode": (
        "token_truncate",
        "token_mask",
        "sequence_truncate",
        "sequence_mask",
    ),
}
NUMBERS = {bool, int, float, type(None)}


def num_steps_of(config: RLConfig, *, num_prompts: int) -> int:
    """Return the number of optimiser steps of a run: ``max_steps``, else those of the epochs.

    >>> num_steps_of(RLConfig(), num_prompts=20)  # 8 prompts of a step, with 4 answers each
    3
    >>> num_steps_of(RLConfig(preset="secrets2"), num_prompts=20)
    2000
    """
    if config.fit.max_steps is not None:
        return config.fit.max_steps
    per_pass = math.ceil(num_prompts / config.num_prompts)
    return max(1, round(config.fit.epochs * per_pass)) * iterations_of(config)


def iterations_of(config: RLConfig) -> int:
    """Return how many optimiser steps are taken on the same answers.

    Raises:
        ConfigError: ``trl.num_iterations`` is no whole number from 1.
    """
    found = int(_typed("num_iterations", config.trl.get("num_iterations", 1), kind=int))
    if found < 1:
        raise ConfigError(f"trl.num_iterations is {found}; expected a whole number from 1")
    return found


def order_of(config: RLConfig, *, num_prompts: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers of the prompts in the order in which they are answered, [S].

    Every prompt comes once before one comes again; each pass has an order of its own, which depends
    on the seed and the pass alone, so that a run that was killed goes on with the same prompts.
    """
    num_steps = num_steps_of(config, num_prompts=num_prompts)
    wanted = math.ceil(num_steps / iterations_of(config)) * config.num_prompts
    passes = [
        np.random.default_rng([seed, number]).permutation(num_prompts)
        for number in range(math.ceil(wanted / num_prompts))
    ]
    return np.concatenate(passes)[:wanted].astype(np.int64)


def rl_arguments(
    config: RLConfig, *, num_prompts: int, seed: int, work: Path, every: int | None
) -> Any:
    """Return the settings of TRL's trainer.

    Args:
        config: ours.
        num_prompts: that are trained on.
        seed: of the run.
        work: where checkpoints are written.
        every: steps between two looks at held-out prompts; ``None``: there are none.

    Raises:
        ConfigError: a key of ``config.trl`` is unknown or set by other settings, its value is none
            that TRL knows or cannot be had here, or there are more processes than answers of a step
            can be given to.
    """
    kind = KINDS[config.method]
    settings = {
        **_steps(config, num_prompts=num_prompts, seed=seed, work=work),
        **_rollouts(config),
        **_logging(config, every=every),
    }
    own = _own(config.trl, kind, taken={*settings, *FIXED})
    with refusals():
        arguments = kind(**settings, **own)
    use_one_device(arguments)
    return arguments


@contextmanager
def refusals() -> Iterator[None]:
    """Tell the user what TRL refuses when it is handed settings.

    Raises:
        ConfigError: it refused one, or a package that one of them needs is missing.
    """
    try:
        yield
    except (ImportError, TypeError, ValueError) as error:
        raise ConfigError(f"TRL refuses the settings: {' '.join(str(error).split())}") from error


def _own(given: Mapping[str, Any], kind: type[Any], *, taken: set[str]) -> dict[str, Any]:
    """Return further settings of TRL; what it would not notice before the first answers is refused.

    Numbers are read as those of ours: YAML takes 3e-4 for a text.
    """
    known = {field.name for field in dataclasses.fields(kind) if field.init}
    hints = get_type_hints(kind)
    found = {}
    for key, value in given.items():
        if key in taken:
            raise ConfigError(f"trl.{key}: is set by the other settings; leave it out")
        if key not in known:
            raise ConfigError(f"trl.{key}: {kind.__name__} of TRL has no such setting")
        if key in NAMES and value not in NAMES[key]:
            raise ConfigError(
                f"trl.{key} is {shorten(value)}; expected one of {', '.join(map(str, NAMES[key]))}"
            )
        found[key] = _typed(key, value, kind=hints[key])
    if found.get("sync_ref_model"):
        raise ConfigError(
            "trl.sync_ref_model: the reference is the policy at the start; one that moves is in no "
            "checkpoint, so that a run that was killed would end with other weights; leave it out"
        )
    if found.get("use_vllm") and find_spec("vllm") is None:
        raise ConfigError("trl.use_vllm: vLLM is not installed; try: pip install 'trl[vllm]'")
    return found


def _typed(key: str, value: Any, *, kind: Any) -> Any:
    """Return a value of TRL's settings, as a number where it is declared to be one."""
    if not set(get_args(kind) or [kind]) <= NUMBERS:
        return value
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ConfigError(f"trl.{key} is {shorten(value)}: {problem['msg']}") from error


def _steps(config: RLConfig, *, num_prompts: int, seed: int, work: Path) -> dict[str, Any]:
    fit, compute = config.fit, config.fit.compute
    num_steps = num_steps_of(config, num_prompts=num_prompts)
    wanted = compute.save_every or max(LEAST_SAVE_EVERY, math.ceil(num_steps / NUM_SAVES))
    iterations = iterations_of(config)  # answers do not outlive a kill, so none may be half used
    micro, num_micro = _shares(config)
    return {
        "output_dir": str(work),
        "max_steps": num_steps,
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": num_micro,
        "learning_rate": fit.learning_rate,
        **adamw_arguments(fit.optimiser, num_steps=num_steps),
        "bf16": compute.autocast == "bfloat16",
        "activation_checkpointing": compute.gradient_checkpointing,
        "use_cpu": not torch.accelerator.is_available(),
        "disable_dropout": True,
        "save_strategy": "steps",
        "save_steps": math.ceil(wanted / iterations) * iterations,
        "save_total_limit": 2,
        "seed": seed,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "ddp_find_unused_parameters": False,
        "remove_unused_columns": False,
        "shuffle_dataset": False,  # the order is ours
    }


def _rollouts(config: RLConfig) -> dict[str, Any]:
    coefficient = config.kl_coefficient
    return {
        "num_generations": config.num_generations,
        "max_completion_length": config.max_new_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "top_k": 0,
        "repetition_penalty": config.repetition_penalty,
        "beta": 0.0 if coefficient is None else coefficient or MEASURED_ALONE,
    }


def _logging(config: RLConfig, *, every: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": list(config.fit.trackers) or "none",
        "run_name": config.fit.run_name,
        "project": PROJECT,
        "disable_tqdm": True,
    }
    if every is not None:
        found |= {"eval_strategy": "steps", "eval_steps": every, "num_generations_eval": 1}
    return found


def _shares(config: RLConfig) -> tuple[int, int]:
    """Return how many answers a process computes at once, and how often in a step."""
    batch, world = config.fit.batch_size, num_processes()
    share = batch // world
    micro = min(config.fit.compute.micro_batch_size or share, share)
    if batch % world or share % max(micro, 1):
        raise ConfigError(
            f"fit.batch_size is {batch} answers, for {world} processes with {max(micro, 1)} at "
            "once; choose a multiple"
        )
    return micro, share // micro
