"""Reinforcement learning of a policy: TRL's GRPO or RLOO, with our reward and our watch.

GRPO: Shao et al., "DeepSeekMath", arXiv 2402.03300. RLOO: Ahmadian et al., "Back to Basics", arXiv
2402.14740. Losses and roll-outs are TRL's, with its defaults unless `RLConfig` says otherwise; what
is ours is the order of the prompts, the seeds of the draws, the reward and what is watched.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from datasets import Dataset
from jinja2 import TemplateError
from transformers import (
    AutoConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
)
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

from tamis.data.tables import plain_turns
from tamis.errors import ConfigError, DataError
from tamis.models.attention import use_fast_backward
from tamis.models.config import ModelConfig
from tamis.models.source import loading, locate, quiet
from tamis.policy.adapters import adapters, check_weights
from tamis.policy.load import load_chat_tokenizer, load_policy, save_policy
from tamis.policy.rl.arguments import order_of, refusals, rl_arguments
from tamis.policy.rl.config import RewardConfig, RLConfig
from tamis.policy.rl.report import rl_report
from tamis.policy.rl.rewards import Judged, PolicyReward, Shape
from tamis.policy.rl.tokens import watching_tokens
from tamis.policy.rl.watch import WATCH, Draws, Watch, read_lines
from tamis.runs import is_main, progress
from tamis.runs.processes import from_main
from tamis.train.config import WatchConfig
from tamis.train.tracking import check_trackers, finish_tracking
from tamis.train.trainer import last_complete
from tamis.types import Conversation

POLICY, REFERENCE = "policy", "reference"
TRAINERS: dict[str, Any] = {"grpo": GRPOTrainer, "rloo": RLOOTrainer}


@dataclass(frozen=True, slots=True)
class Material:
    """Prompts as data sets: those that are trained on, in order, and those held out."""

    training: Dataset
    held_out: Dataset | None
    num_training: int
    longest: int
    left_out: Counter[str]


def reinforce(
    prompts: Sequence[Conversation],
    *,
    policy: ModelConfig,
    judged: Judged,
    reward: RewardConfig,
    config: RLConfig,
    seed: int,
    work: Path,
    out: Path,
    held_out: Sequence[Conversation] = (),
) -> dict[str, Any]:
    """Train a policy, write it to ``out`` with ``watch.jsonl`` beside it, and return the report.

    ``held_out`` are prompts to look at, beside those that ``reward.held_out`` takes from the
    prompts. A run that was killed goes on from the last complete checkpoint in ``work`` to the same
    weights bit for bit (same hardware, threads and processes; answers that are not vLLM's). Several
    processes call this with the same arguments.

    Raises:
        ConfigError: a model cannot be loaded or does not fit the settings, or the loss diverged.
        DataError: no prompt is left, or an answer cannot be scored.
    """
    started = time.monotonic()
    check_trackers(WatchConfig(trackers=config.fit.trackers))
    check_weights(policy, config.fit.lora)
    model, tokenizer = load_policy(policy)
    use_fast_backward(model, alike=True)
    material = _material(
        prompts, tokenizer, reward=reward, config=config, seed=seed, held_out=held_out
    )
    _check_context(model.config, longest=material.longest, config=config)
    looks = None if material.held_out is None else reward.every
    arguments = rl_arguments(
        config, num_prompts=material.num_training, seed=seed, work=work, every=looks
    )
    _name_reference(model, policy, config=config, work=work)
    rewarding = PolicyReward(
        judged, Shape(reward.shaping, config.reward_clip), end_ids=_end_ids(model, tokenizer)
    )
    with quiet(), progress("reinforcing", total=arguments.max_steps) as advance:
        watch = Watch(rewarding, path=work / WATCH, on_step=advance, seed=seed)
        trainer = _trainer(
            config,
            material,
            model=model,
            reward_funcs=[rewarding],
            args=arguments,
            processing_class=tokenizer,
            callbacks=[Draws(seed=seed), watch],
        )
        watch.show_scores(trainer.callback_handler.callbacks)
        _train(trainer, work=work, looks=looks is not None)
    report = {**rl_report(read_lines(work / WATCH)), **_facts(config, material)}
    if trainer.is_world_process_zero():
        trained = trainer.accelerator.unwrap_model(trainer.model)
        save_policy(trained, tokenizer, out / POLICY, card=_card(config, report, seed=seed))
        shutil.copyfile(work / WATCH, out / WATCH)
    return {**report, "timing": {"seconds": round(time.monotonic() - started, 3)}}


def check_run(
    prompts: Sequence[Conversation],
    *,
    policy: ModelConfig,
    reward: RewardConfig,
    config: RLConfig,
    seed: int,
) -> None:
    """Refuse a run that would be refused when its weights are loaded; none are here.

    Raises:
        ConfigError, DataError: see `reinforce`; rewards are not looked at.
    """
    check_trackers(WatchConfig(trackers=config.fit.trackers))
    check_weights(policy, config.fit.lora)
    material = _material(
        prompts, load_chat_tokenizer(policy), reward=reward, config=config, seed=seed
    )
    with loading(policy.path), quiet():
        settings = AutoConfig.from_pretrained(
            locate(policy.path),
            revision=policy.revision,
            trust_remote_code=policy.trust_remote_code,
        )
    _check_context(settings, longest=material.longest, config=config)
    num, every = material.num_training, None if material.held_out is None else reward.every
    rl_arguments(config, num_prompts=num, seed=seed, work=Path(POLICY), every=every)


def _trainer(config: RLConfig, material: Material, *, model: PreTrainedModel, **given: Any) -> Any:
    """Return TRL's trainer, which looks at some settings only when it has the policy."""
    with refusals():
        return watching_tokens(TRAINERS[config.method])(
            model=model,
            train_dataset=material.training,
            eval_dataset=material.held_out,
            peft_config=adapters(model, config.fit.lora),
            **given,
        )


def _train(trainer: Any, *, work: Path, looks: bool) -> None:
    """Train from the last checkpoint, if there is one, and look at held-out prompts at the end."""
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise ConfigError(
            "a policy that is spread over processes is not offered; launch without FSDP and "
            "DeepSpeed, or see examples/openrlhf and examples/verl"
        )
    trainer.remove_callback(PrinterCallback)
    if trainer.ref_model is not None:
        use_fast_backward(trainer.ref_model, alike=True)
    checkpoint = last_complete(work)
    trainer.args.eval_on_start = looks and checkpoint is None
    trainer.train(resume_from_checkpoint=checkpoint)
    last = trainer.state.global_step
    known = {line["step"] for line in read_lines(work / WATCH) if line["kind"] == "held_out"}
    if looks and from_main(last not in known):
        trainer.evaluate()
    finish_tracking(trainer.args)


def _material(
    prompts: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    *,
    reward: RewardConfig,
    config: RLConfig,
    seed: int,
    held_out: Sequence[Conversation] = (),
) -> Material:
    everything = [*prompts, *held_out]
    lengths = [_num_tokens(tokenizer, prompt) for prompt in everything]
    fits = [number for number, n in enumerate(lengths) if n <= config.max_prompt_tokens]
    left_out = Counter({"too long": len(everything) - len(fits)})
    fitting = [{"prompt": plain_turns(everything[n]), "number": n} for n in fits]
    rows = fitting[: sum(n < len(prompts) for n in fits)]
    if len(rows) <= reward.held_out:
        raise DataError(
            f"{len(rows)} of {len(prompts)} prompts have at most {config.max_prompt_tokens} tokens "
            f"and {reward.held_out} are to be held out; expected more"
        )
    drawn = np.random.default_rng([seed, len(rows)]).permutation(len(rows))
    training = np.sort(drawn[reward.held_out :])
    looked_at = [rows[i] for i in np.sort(drawn[: reward.held_out])] + fitting[len(rows) :]
    order = order_of(config, num_prompts=len(training), seed=seed)
    return Material(
        Dataset.from_list([{**rows[i], "held_out": False} for i in training]).select(order),
        Dataset.from_list([{**row, "held_out": True} for row in looked_at]) if looked_at else None,
        len(training),
        max(lengths[number] for number in fits),
        left_out,
    )


def _num_tokens(tokenizer: PreTrainedTokenizerBase, prompt: Conversation) -> int:
    try:
        found = tokenizer.apply_chat_template(
            plain_turns(prompt), add_generation_prompt=True, tokenize=True, return_dict=True
        )
    except TemplateError as error:
        raise DataError(f"the chat template of the policy refuses a prompt: {error}") from error
    return len(cast(Any, found)["input_ids"])


def _check_context(settings: PretrainedConfig, *, longest: int, config: RLConfig) -> None:
    limit = getattr(settings.get_text_config(), "max_position_embeddings", None)
    if limit is not None and longest + config.max_new_tokens > limit:
        raise ConfigError(
            f"a prompt of {longest} tokens and {config.max_new_tokens} new ones are more than the "
            f"{limit} that the policy reads; choose a smaller max_prompt_tokens or max_new_tokens"
        )


def _name_reference(
    model: PreTrainedModel, policy: ModelConfig, *, config: RLConfig, work: Path
) -> None:
    """Make TRL find the reference, which it loads by name: the policy as it is now.

    With adapters it needs none, as switching them off gives it.
    """
    if config.kl_coefficient is None or config.fit.lora.rank:
        return
    if policy.num_layers is None and policy.revision is None:
        model.config._name_or_path = locate(policy.path)
        return
    folder = work / REFERENCE
    if is_main() and not folder.is_dir():
        unnamed = work / f"{REFERENCE}.part"
        shutil.rmtree(unnamed, ignore_errors=True)
        with quiet():
            model.save_pretrained(unnamed)
        unnamed.replace(folder)
    from_main(None)  # the others wait
    model.config._name_or_path = str(folder)


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that end an answer, as TRL's trainers know them."""
    settings = cast(Any, model).generation_config
    declared = settings.eos_token_id if settings.eos_token_id is not None else []
    ends = declared if isinstance(declared, list) else [declared]
    return frozenset([*ends, tokenizer.eos_token_id, tokenizer.pad_token_id])


def _facts(config: RLConfig, material: Material) -> dict[str, Any]:
    return {
        "method": config.method,
        "preset": config.preset,
        "num_prompts": material.num_training,
        "num_held_out": 0 if material.held_out is None else len(material.held_out),
        "num_left_out": dict(material.left_out),
    }


def _card(config: RLConfig, report: dict[str, Any], *, seed: int) -> dict[str, Any]:
    return {
        "method": config.method.upper(),
        "preset": config.preset or "none",
        "prompts": report["num_prompts"],
        "steps": report["num_steps"],
        "answers to a prompt": config.num_generations,
        "KL coefficient": config.kl_coefficient,
        "seed": seed,
    }
