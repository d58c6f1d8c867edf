"""Does the score follow the principle? The sign-flip test, on unseen prompts and unseen words.

Run with `make bench-principles`. A principle-conditioned reward model is trained with the rule
judge of length on the shipped wordings of `concise` and `detailed`, over real prompts and answers.
Then the answers to prompts of the test split are scored under paraphrases of "be concise" and of
its opposite, none of which was trained on; "fresh" and "more" are twelve more each. For each prompt
and paraphrase: Spearman's correlation of length and score over its answers, under both. Printed is
the share of prompts on which the sign changes in the direction asked for, with a 95% interval over
prompts; "wordings" are two of the shipped ones, for comparison. Settings may be chosen by these.
``--members N`` trains N models, whose mean scores it reports, and each of them behind it.
``--widen FILE`` goes on from the trained model with more wordings: benchmarks/wordings.yaml has
172, benchmarks/opposites.yaml words and templates for 40,000, among which the known ones stay.
``--blind benchmarks/blind.yaml`` adds pairs that nobody looks at, once everything is chosen.

Shapes: Q prompts and paraphrases together, A answers of one prompt, T texts of principles.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import yaml

from opposites import grown, opposite, with_opposites
from shared import model_of, pairs_of, parser_of
from tamis.metrics import cluster_bootstrap, cluster_ids
from tamis.models.checkpoint import Scorer, load_scorer
from tamis.models.config import ModelConfig
from tamis.models.score import score_sequences
from tamis.models.tokenise import (
    encode_conversations,
    encode_pairs,
    fit_problem,
    load_tokenizer,
    pad_id_of,
)
from tamis.principles import Example, PrinciplesConfig, examples, judged, load_principles, sign_flip
from tamis.principles.layout import condition
from tamis.principles.principle import Principle, choose_principles
from tamis.studies.demo import DEMO_MODEL
from tamis.studies.fitted import precision_of
from tamis.train.config import AdapterConfig, ComputeConfig, TrainConfig
from tamis.train.fit import fit
from tamis.types import Conversation, Pair, Verdict

SOURCES = ("alpacaeval_gpt4_judge", "hh_helpful_base", "ultrafeedback_subset")
MANY_ANSWERS = "alpacaeval_gpt4_judge"
NAMES = ("concise", "detailed")
UNSEEN = Path(__file__).with_name("unseen.yaml")
LEAST_ANSWERS = 4
NUM_SEEN = 2


def main() -> None:
    """Print the table and, last, the figures as JSON."""
    options = _options()
    started = time.perf_counter()
    unseen = yaml.safe_load(UNSEEN.read_text(encoding="utf-8"))
    if options.blind is not None:
        unseen["blind"] = yaml.safe_load(options.blind.read_text(encoding="utf-8"))
    if options.opposites:
        unseen |= {f"{name}, marked": by_mark(some) for name, some in unseen.items()}
    stages = _stages(
        options, without={t for some in unseen.values() for both in some for t in both}
    )
    with tempfile.TemporaryDirectory() as folder:
        seeds = range(options.seed, options.seed + options.members)
        scorers = [
            load_scorer(str(trained(options, stages=stages, seed=seed, folder=Path(folder))))
            for seed in seeds
        ]
        train_s = time.perf_counter() - started
        prompts = held_out(options, scorer=scorers[0], paraphrases=unseen["paraphrases"])
        first = stages[0][0]
        seen = list(zip(first.wanted, first.negated, strict=True))[:NUM_SEEN]
        found = {
            name: figures_of(prompts, some, scorers=scorers, options=options)
            for name, some in {**unseen, "wordings": seen}.items()
        }
    for name in found:
        if name.startswith("blind"):
            del found[name]["by_words"]
    _print(found, num_prompts=len(prompts))
    minutes = (time.perf_counter() - started) / 60
    settings = {name: str(value) for name, value in vars(options).items()}
    result = {"settings": settings, "num_prompts": len(prompts)}
    print(json.dumps({**result, "minutes": round(minutes, 1), "train_s": train_s, **found}))


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.set_defaults(max_length=384)
    parser.add_argument("--encoder", action="store_true", help="all-MiniLM-L6-v2 instead")
    parser.add_argument("--base", type=Path, help="another checkpoint instead, whole")
    parser.add_argument("--principles", type=Path, help="file of other wordings than the shipped")
    parser.add_argument("--widen", type=Path, help="file of more wordings, trained on afterwards")
    parser.add_argument("--blind", type=Path, help="file of pairs that decide")
    parser.add_argument(
        "--opposites", action="store_true", help="then on every wording behind the mark, too"
    )
    parser.add_argument("--names", nargs="+", default=list(NAMES), help="principles that decide")
    parser.add_argument("--pairs", type=int, default=900, help="pairs to make examples from")
    parser.add_argument("--passes", type=int, default=4, help="examples of a pair")
    parser.add_argument("--widen-passes", type=int, default=4, help="the same, with --widen")
    parser.add_argument("--widen-known", type=float, default=0.5, help="share of known wordings")
    parser.add_argument("--widen-rate", type=float, help="learning rate then; default: the same")
    parser.add_argument("--chars", type=int, default=500, help="prompt and an answer at most")
    parser.add_argument("--prompts", type=int, default=40, help="unseen ones")
    parser.add_argument("--answers", type=int, default=6, help="of an unseen prompt at most")
    parser.add_argument("--batch-size", type=int, default=8, help="examples of a step")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--rank", type=int, default=0, help="of adapters; 0 = all weights")
    parser.add_argument("--top-layers", type=int, help="adapters in the last so many alone")
    parser.add_argument("--bfloat16", action="store_true", help="compute the trunk in bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--members", type=int, default=1, help="seeds; together an ensemble")
    parser.add_argument("--keep", type=Path, help="folder of checkpoints, one a seed")
    return parser.parse_args()


def _stages(options: argparse.Namespace, *, without: set[str]) -> list[list[Principle]]:
    """Return what is trained on, one after the other; nothing of it is among ``without``."""
    stages = [choose_principles(load_principles(options.principles), options.names)]
    if options.widen is not None and "kinds" in yaml.safe_load(options.widen.read_text("utf-8")):
        first, *others = stages[0]
        many = grown(options.widen, name=first.name, without=without)
        stages.append([among(first, many, share=options.widen_known), *others])
    elif options.widen is not None:
        stages.append(choose_principles(load_principles(options.widen), options.names))
    if options.opposites:
        stages.append([with_opposites(principle) for principle in stages[0]])
    for principle in itertools.chain.from_iterable(stages):
        both = without & {*principle.wanted, *principle.negated}
        assert not both, f"{principle.name}: trained on, and to be unseen: {sorted(both)}"
    return stages


def among(few: Principle, many: Principle, *, share: float) -> Principle:
    """Return a principle of which this share of all draws is one of few wordings."""
    sides = []
    for known, others in ((few.wanted, many.wanted), (few.negated, many.negated)):
        times = round(share / (1 - share) * len(others) / len(known))
        sides.append(known * times + others)
    return replace(few, wanted=sides[0], negated=sides[1])


def by_mark(opposites: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """Return what asks for short answers, and the same behind the mark of the opposite."""
    return [(wanted, opposite(wanted)) for wanted, _ in opposites]


def trained(
    options: argparse.Namespace,
    *,
    stages: Sequence[Sequence[Principle]],
    seed: int,
    folder: Path,
) -> Path:
    """Return the checkpoint of one seed, trained now or kept from before."""
    if options.keep is not None and (options.keep / f"seed-{seed}").is_dir():
        return options.keep / f"seed-{seed}"
    options = argparse.Namespace(**{**vars(options), "seed": seed})
    model = _model(options)
    for number, known in enumerate(stages):
        work = folder / f"seed-{seed}-stage-{number}"
        passes = options.widen_passes if number else options.passes
        made = training_examples(options, known=known, passes=passes, model=model, work=work)
        print(f"{len(made)} examples of {len({p.group for p in made})} prompts", flush=True)
        rate = options.widen_rate if number else None
        checkpoint = train(made, options, model=model, work=work, rate=rate)
        model = ModelConfig(path=str(checkpoint), max_length=options.max_length)
    if options.keep is None:
        return checkpoint
    options.keep.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(checkpoint, options.keep / f"seed-{seed}"))


def _model(options: argparse.Namespace) -> ModelConfig:
    if options.encoder:
        return ModelConfig(path=DEMO_MODEL, max_length=options.max_length)
    if options.base is not None:
        return ModelConfig(path=str(options.base), max_length=options.max_length)
    return model_of(options)


def training_examples(
    options: argparse.Namespace,
    *,
    known: Sequence[Principle],
    passes: int,
    model: ModelConfig,
    work: Path,
) -> list[Pair]:
    """Return labelled examples from short pairs of the training split, at most two a prompt."""
    rng = np.random.default_rng([options.seed, 11])
    taken: dict[str, int] = {}
    pairs = []
    every = [pair for pair in pairs_of(options, *SOURCES) if pair.split == "train"]
    for place in rng.permutation(len(every)).tolist():
        pair = every[place]
        sides = (pair.chosen, pair.rejected)
        if max(_chars(pair.prompt + side) for side in sides) > options.chars:
            continue
        if taken.get(pair.group, 0) < 2 and len(pairs) < options.pairs:
            taken[pair.group] = taken.get(pair.group, 0) + 1
            pairs.append(pair)
    names = tuple(principle.name for principle in known)
    config = PrinciplesConfig(judge="length", passes=passes, names=names)
    common = {"config": config, "seed": options.seed}
    judgement = judged(pairs, known, folder=work, notice=print, **common)
    found = examples(pairs, known, judgement=judgement, **common)
    made = {item.pair.id: item.pair for item in found if isinstance(item, Example)}
    tokenizer = load_tokenizer(model)
    ids = encode_pairs(tokenizer, list(made.values()), max_length=options.max_length)
    fits = [fit_problem(encoded, max_length=options.max_length) is None for encoded in ids]
    return [pair for pair, fitting in zip(made.values(), fits, strict=True) if fitting]


def train(
    made: Sequence[Pair],
    options: argparse.Namespace,
    *,
    model: ModelConfig,
    work: Path,
    rate: float | None = None,
) -> Path:
    """Train on the examples; those of one pair meet in a batch, which computes its texts once."""
    fit(
        made,
        [Verdict(pair.id) for pair in made],
        model=model,
        train=_settings(options, rate=rate),
        seed=options.seed,
        work=work / "train",
        out=work / "checkpoint",
    )
    return work / "checkpoint"


def _settings(options: argparse.Namespace, *, rate: float | None = None) -> TrainConfig:
    return TrainConfig(
        learning_rate=rate or options.learning_rate,
        batch_size=options.batch_size,
        sampler="group",
        lora=AdapterConfig(rank=options.rank, top_layers=options.top_layers),
        compute=ComputeConfig(autocast="bfloat16" if options.bfloat16 else "none"),
    )


def held_out(
    options: argparse.Namespace, *, scorer: Scorer, paraphrases: Sequence[Sequence[str]]
) -> list[tuple[Conversation, list[Conversation]]]:
    """Return unseen prompts with several answers that the model reads whole."""
    answers: dict[Conversation, dict[Conversation, None]] = {}
    for pair in pairs_of(options, MANY_ANSWERS):
        if pair.split == "test":
            for side in (pair.chosen, pair.rejected):
                if _chars(pair.prompt + side) <= options.chars:
                    answers.setdefault(pair.prompt, {})[side] = None
    longest = max((text for both in paraphrases for text in both), key=len)
    rng = np.random.default_rng([options.seed, 12])
    found = []
    listed = list(answers.items())
    for place in rng.permutation(len(listed)).tolist():
        if len(found) == options.prompts:
            break
        prompt, sides = listed[place]
        whole = [sum(condition(prompt, side, texts=[longest]), ()) for side in sides]
        rows = encode_conversations(scorer.tokenizer, whole, max_length=None)
        short = [s for s, ids in zip(sides, rows, strict=True) if len(ids) <= scorer.max_length]
        drawn = [short[i] for i in rng.permutation(len(short))[: options.answers].tolist()]
        if len(drawn) >= LEAST_ANSWERS:
            found.append((prompt, drawn))
    return found


def figures_of(
    prompts: Sequence[tuple[Conversation, list[Conversation]]],
    opposites: Sequence[Sequence[str]],
    *,
    scorers: Sequence[Scorer],
    options: argparse.Namespace,
) -> dict[str, object]:
    """Return the figures of the scorers, or of the mean of their standardised scores, and each."""
    members = []
    for scorer in scorers:
        with precision_of(_settings(options), scorer.model.device.type):
            members.append(scores_of(prompts, opposites, scorer=scorer))
    alone = [flips(prompts, opposites, scores=scores, seed=options.seed) for scores in members]
    if len(members) == 1:
        return alone[0]
    stds = [np.concatenate([part.ravel() for part in scores]).std() for scores in members]
    mean = [
        sum(part / std for part, std in zip(parts, stds, strict=True)) / len(members)
        for parts in zip(*members, strict=True)
    ]
    each = [one["followed"]["value"] for one in alone]
    return {**flips(prompts, opposites, scores=mean, seed=options.seed), "each": each}


def scores_of(
    prompts: Sequence[tuple[Conversation, list[Conversation]]],
    opposites: Sequence[Sequence[str]],
    *,
    scorer: Scorer,
) -> list[np.ndarray]:
    """Return what each prompt's answers score under all texts, [T, A]."""
    found = []
    for prompt, sides in prompts:
        # all in one call: what an answer is under all texts is computed once
        whole = [
            sum(condition(prompt, side, texts=[text]), ())
            for both in opposites
            for text in both
            for side in sides
        ]
        ids = encode_conversations(scorer.tokenizer, whole, max_length=scorer.max_length)
        scores = score_sequences(scorer.model, ids, pad_id=pad_id_of(scorer.tokenizer))
        found.append(scores.astype(np.float64).reshape(2 * len(opposites), len(sides)))
    return found


def flips(
    prompts: Sequence[tuple[Conversation, list[Conversation]]],
    opposites: Sequence[Sequence[str]],
    *,
    scores: Sequence[np.ndarray],
    seed: int,
) -> dict[str, object]:
    """Return the shares of prompts and words on which the sign changes, intervals over prompts."""
    lengths, names = [], []
    for number, (_, sides) in enumerate(prompts):
        lengths += [np.array([float(_chars(side)) for side in sides])] * len(opposites)
        names += [str(number)] * len(opposites)
    rows = [row_A for part in scores for row_A in part]
    found = sign_flip(lengths, wanted=rows[::2], negated=rows[1::2], asks=-1)
    told = np.isfinite(found.followed_Q)
    clusters = cluster_ids([name for name, tells in zip(names, told, strict=True) if tells])
    per_words = found.followed_Q.reshape(-1, len(opposites)).T
    return {
        "followed": asdict(cluster_bootstrap(found.followed_Q[told], clusters=clusters, seed=seed)),
        "flipped": asdict(cluster_bootstrap(found.flipped_Q[told], clusters=clusters, seed=seed)),
        "mean_correlation": [float(np.nanmean(q)) for q in (found.wanted_Q, found.negated_Q)],
        "by_words": {
            f"{wanted} / {negated}": float(np.nanmean(row))
            for (wanted, negated), row in zip(opposites, per_words, strict=True)
        },
    }


def _print(figures: dict[str, dict], *, num_prompts: int) -> None:
    print(f"\nshare of {num_prompts} unseen prompts, % [95% interval over prompts]")
    for name, found in figures.items():
        cells = [
            f"{100 * part['value']:.1f} [{100 * part['low']:.1f}, {100 * part['high']:.1f}]"
            for part in (found["followed"], found["flipped"])
        ]
        wanted, negated = found["mean_correlation"]
        print(
            f"{name:>12} | sign changes as asked {cells[0]} | sign changes {cells[1]} | "
            f"mean correlation {wanted:+.2f} / {negated:+.2f}"
            + "".join(f" | {100 * share:.1f}" for share in found.get("each", []))
        )
    for name in figures:
        for words, share in figures[name].get("by_words", {}).items():
            print(f"{100 * share:6.1f}  {words}")


def _chars(turns: Conversation) -> int:
    return sum(len(turn.content) for turn in turns)


if __name__ == "__main__":
    main()
