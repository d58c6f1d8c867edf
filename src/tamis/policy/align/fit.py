"""One run of DPO and its relatives: from judged pairs to a policy that every consumer loads.

Shapes: N pairs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import datasets
from torch import Tensor
from transformers import PrinterCallback

from tamis.data.read import is_hub_id
from tamis.errors import ConfigError, DataError
from tamis.evaluate.scorers.texts import Text
from tamis.models.config import ModelConfig
from tamis.models.source import PACKAGE, locate, quiet
from tamis.policy.adapters import adapters, check_weights
from tamis.policy.align.arguments import dpo_arguments
from tamis.policy.align.assemble import Assembled, assemble
from tamis.policy.align.config import AlignConfig
from tamis.policy.align.implied import implied_report, read_held_out
from tamis.policy.align.marking import Marker
from tamis.policy.align.material import Material, Start, load_start, make_material
from tamis.policy.align.report import align_report
from tamis.policy.align.states import answer_states
from tamis.policy.align.trainer import PolicyTrainer, Step, base_of
from tamis.policy.align.view import Trained
from tamis.policy.load import save_policy
from tamis.runs import num_processes, progress, write_parquet
from tamis.terms.view import Beginning
from tamis.train.config import WatchConfig
from tamis.train.modules import attach, detach, keepers, module_of
from tamis.train.tracking import check_trackers, finish_tracking
from tamis.train.trainer import last_complete
from tamis.types import Pair, Verdict

POLICY = "policy"
TRL_BARS = "TQDM_DISABLE"  # the one switch that TRL has for the bar of its reference


def align(
    pairs: Sequence[Pair],
    verdicts: Sequence[Verdict],
    *,
    policy: ModelConfig,
    config: AlignConfig,
    held_out: Sequence[Pair] = (),
    seed: int,
    work: Path,
    out: Path,
) -> dict[str, Any]:
    """Align a policy with judged pairs, write it to ``out/policy`` and return the report.

    A run that was killed resumes from the last complete checkpoint in ``work``, with the same final
    weights bit for bit (on one kind of hardware with one number of threads). What terms brought is
    written to ``out`` as ``TERM.parquet``. The report is JSON-safe and, but for ``timing``, the
    same for the same inputs.

    Args:
        pairs: at least one.
        verdicts: one a pair, in the same order.
        policy: a chat model.
        config: what is minimised, and how.
        held_out: pairs that are measured before and after; perhaps none.
        seed: of the order of pairs, of adapters, and of what terms draw.
        work: for checkpoints and what is computed at length.
        out: a directory.

    Raises:
        DataError: no pair is left, or a file of a term cannot be read.
        ConfigError: the policy cannot be loaded, settings contradict each other, training diverged,
            several processes were launched, or a directory cannot be written.
    """
    started = time.monotonic()
    assembled = checked(config, policy=policy)
    start = load_start(policy, config)
    material = make_material(
        pairs,
        verdicts,
        held_out=held_out,
        start=start,
        config=config,
        assembled=assembled,
        seed=seed,
        work=work,
    )
    for name, brought in material.brought.items():
        if brought.table is not None:
            write_parquet(out / f"{name}.parquet", brought.table)
    trainer = _train(start, material, assembled, config=config, seed=seed, work=work)
    report = align_report(config, material.data, state=trainer.state)
    report |= _measured(trainer, start, assembled, material=material, seed=seed)
    detach(trainer.policy)
    card = {"objective": " and ".join([config.loss, *config.terms]), "beta": config.beta}
    card |= {"pairs": report["num_pairs"], "steps": report["num_steps"], "seed": seed}
    save_policy(cast(Any, trainer.policy), start.tokenizer, out / POLICY, card=card)
    return {**report, "timing": {"elapsed_s": round(time.monotonic() - started, 3)}}


def checked(config: AlignConfig, *, policy: ModelConfig) -> Assembled:
    """Return the objective, once all is checked that takes neither data nor weights.

    Raises:
        ConfigError: settings contradict each other, a package or a model is missing, or several
            processes were launched.
        DataError: a file that a term reads is missing.
    """
    if num_processes() > 1:
        raise ConfigError(
            f"{num_processes()} processes were launched, and a policy is aligned by one; start "
            "without `accelerate launch`"
        )
    check_trackers(WatchConfig(trackers=config.fit.trackers))
    check_weights(policy, config.fit.lora)
    if config.reference is not None:
        locate(config.reference)
    assembled = assemble(config)
    for name, path in assembled.reads.items():
        if path.startswith(PACKAGE):
            locate(path)
        elif not (Path(path).exists() or is_hub_id(path)):
            raise DataError(f"terms.{name}: {path}: no such file or directory")
    return assembled


def _train(
    start: Start,
    material: Material,
    assembled: Assembled,
    *,
    config: AlignConfig,
    seed: int,
    work: Path,
) -> PolicyTrainer:
    """Train, or go on from the last complete checkpoint, and return the trainer."""
    arguments = dpo_arguments(
        config,
        max_length=start.max_length,
        num_pairs=len(material.data.source_N),
        seed=seed,
        work=work,
    )
    with quiet(), _without_bars(), progress("aligning", total=arguments.max_steps) as advance:
        trainer = PolicyTrainer(
            start.model,
            ref_model=start.reference,
            args=arguments,
            train_dataset=datasets.Dataset.from_file(str(material.data.rows)),
            processing_class=start.tokenizer,
            peft_config=adapters(start.model, config.fit.lora),
        )
        trainer.ref_model = None  # what it says is in the rows
        trainer.remove_callback(PrinterCallback)
        if not (assembled.is_plain and material.data.is_plain):
            _equip(trainer, assembled, material=material, policy=start.config)
        for callback in (*keepers(trainer.policy), Marker(advance)):
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=last_complete(work))
    finish_tracking(trainer.args)
    return trainer


def _equip(
    trainer: PolicyTrainer, assembled: Assembled, *, material: Material, policy: ModelConfig
) -> None:
    """Give a trainer our objective, and the modules of terms to its model."""
    base = base_of(trainer.policy)
    hidden_size = int(base.config.get_text_config().hidden_size)
    beginning = Beginning(policy, hidden_size=hidden_size, seed=int(trainer.args.seed))
    modules = {name: make(beginning) for name, make in assembled.modules.items()}
    attach(trainer.policy, modules, device=base.device)
    step = Step(
        objective=assembled.objective,
        data=material.data,
        columns=material.columns,
        texts=material.texts,
        reads_states=any("states" in asked for asked in assembled.needs.values()),
    )
    trainer.take(step)


def _measured(
    trainer: PolicyTrainer, start: Start, assembled: Assembled, *, material: Material, seed: int
) -> dict[str, Any]:
    """Measure what was trained, with adapters and modules of terms still in it."""
    model = base_of(trainer.policy)
    trainer.policy.train(False)
    report: dict[str, Any] = {"held_out": None}
    if material.held_out is not None and material.before is not None:
        start_N2, reference_N2 = material.before
        report["held_out"] = implied_report(
            material.held_out,
            start_N2=start_N2,
            reference_N2=reference_N2,
            after_N2=read_held_out(material.held_out, model, path=start.config.path),
            seed=seed,
        )

    def states(texts: Sequence[Text]) -> Tensor:
        return answer_states(model, start.tokenizer, texts, max_length=start.max_length)

    pairs = () if material.held_out is None else material.held_out.pairs
    terms: dict[str, Any] = {name: dict(b.report) for name, b in material.brought.items()}
    for name, measure in assembled.measures.items():
        module = module_of(trainer.policy, name) if name in assembled.modules else None
        terms[name] = {**terms.get(name, {}), **measure(Trained(pairs, states, module), seed)}
    return {**report, "terms": terms}


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the bars of datasets off the terminal, and TRL's out of what is no terminal."""
    were_shown = not datasets.are_progress_bars_disabled()
    before = os.environ.get(TRL_BARS)
    datasets.disable_progress_bars()
    if not sys.stderr.isatty():
        os.environ[TRL_BARS] = "1"
    try:
        yield
    finally:
        if were_shown:
            datasets.enable_progress_bars()
        if before is None:
            os.environ.pop(TRL_BARS, None)
        else:
            os.environ[TRL_BARS] = before
