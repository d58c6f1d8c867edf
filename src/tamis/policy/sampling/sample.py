"""Responses sampled from a policy of this process, kept batch by batch.

Shape legend: P prompts, S prompts of a batch, R their responses, T tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from tamis.errors import ConfigError, DataError, shorten
from tamis.evaluate.scorers.opening import Held
from tamis.models.config import ModelConfig
from tamis.models.load import load_language_model, to_accelerator
from tamis.models.source import locate, quiet
from tamis.policy.load import load_chat_tokenizer
from tamis.policy.sampling.config import Sampling
from tamis.policy.sampling.draw import chance
from tamis.policy.sampling.responses import (
    Sampled,
    answer_turn,
    joined,
    read_sampled,
    write_sampled,
)
from tamis.runs import fingerprint, progress
from tamis.types import Conversation

BATCH_RESPONSES = 64  # sampled at once
FORM = 2  # raised where responses kept by an earlier version would be others

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Policy:
    """What responses are sampled with; the weights are loaded when they are first needed."""

    model: Held[PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    end_ids: Ids
    identity: Mapping[str, Any]


def sample_responses(
    model: ModelConfig,
    prompts: Sequence[Conversation],
    *,
    how: Sampling,
    seed: int,
    folder: Path,
) -> list[Sampled]:
    """Sample responses to each prompt from a chat model.

    The model reads the last ``max_prompt_tokens`` tokens of a prompt in its own chat template, once
    for all responses. A response ends with one of the model's end tokens or after
    ``max_new_tokens``, which ``finished`` tells apart. A response that ends with its first token,
    or is white space alone, has a full stop as its text. White space around a response is dropped.
    Only what ``how`` says limits what is drawn; the settings in the model's folder do not.

    Prompts of similar length are sampled together, and at most 64 responses to one prompt at once.
    Each batch is written atomically to a file in ``folder`` whose name is a hash of all that it
    depends on, which seeds its draws as well: sampling that was killed goes on after its last
    batch, with the same responses, and so does a larger ``num`` that is a multiple of 64.

    Args:
        model: a chat model, all of whose layers are used unless it says otherwise.
        prompts: conversations that end before an answer.
        how: how responses are drawn.
        seed: of the draws.
        folder: where samples are kept.

    Raises:
        ConfigError: the model cannot be loaded, has no chat template, or is a reward model; or
            several responses are wanted without chance (temperature 0).
        DataError: a file in ``folder`` is damaged, or the chat template refuses a prompt.
    """
    check_sampling(how)
    policy = _open(model)
    ids_P = [prompt_ids(policy.tokenizer, prompt, most=how.max_prompt_tokens) for prompt in prompts]
    parts = []
    with progress(f"sampling at {how.temperature:g}", total=len(prompts) * how.num) as advance:
        for part, num in enumerate(part_sizes(how.num)):
            few = how.model_copy(update={"num": num})
            identity = _identity(policy, few, seed=seed, part=part)
            found: dict[int, Sampled] = {}
            for batch in _batches(ids_P, size=max(1, BATCH_RESPONSES // num)):
                asked = [(prompts[number], ids_P[number]) for number in batch]
                kept = _batch(policy, asked, how=few, identity=identity, folder=folder)
                found.update(zip(batch, kept, strict=True))
                advance(len(batch) * num)
            parts.append([found[number] for number in range(len(prompts))])
    policy.model.let_go()
    return joined(parts)


def check_sampling(how: Sampling) -> None:
    """Refuse several responses that would all be the same.

    Raises:
        ConfigError: they are asked for.
    """
    if how.temperature == 0 and how.num > 1:
        raise ConfigError(
            f"temperature 0 gives one response to a prompt; expected num 1, found {how.num}"
        )


def part_sizes(num: int) -> list[int]:
    """Return how many responses to a prompt are sampled in each round.

    >>> part_sizes(150)
    [64, 64, 22]
    """
    whole, rest = divmod(num, BATCH_RESPONSES)
    return [BATCH_RESPONSES] * whole + [rest] * (rest > 0)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Conversation, *, most: int) -> Ids:
    """Return the last token ids of a prompt in the chat template, with the head of an answer.

    Raises:
        DataError: the template refuses the prompt.
    """
    messages = [asdict(message) for message in prompt]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise DataError(
            f"the chat template of the policy refuses a prompt with the roles "
            f"{[message.role for message in prompt][:6]}, {shorten(messages[-1]['content'])} "
            f"last: {error}"
        ) from error
    ids = tokenizer(str(text), add_special_tokens=False, verbose=False)["input_ids"]
    return tuple(ids[-most:])


def _open(model: ModelConfig) -> _Policy:
    tokenizer = load_chat_tokenizer(model)
    location = Path(locate(model.path))
    weights = fingerprint(location) if location.is_dir() else model.path
    return _Policy(
        model=Held(lambda: _load(model)),
        tokenizer=tokenizer,
        end_ids=_end_ids(model, int(tokenizer.eos_token_id)),
        identity={**model.model_dump(exclude={"path"}), "weights": weights},
    )


def _load(model: ModelConfig) -> PreTrainedModel:
    policy = load_language_model(model)
    to_accelerator(policy)
    # a published model brings its own top-k, penalties and the like, which would be mixed in
    policy.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    return policy


def _end_ids(model: ModelConfig, end_id: int) -> Ids:
    """Return the tokenizer's end token, and what else ends a response of this model."""
    where: dict[str, Any] = {} if model.revision is None else {"revision": model.revision}
    try:
        known = GenerationConfig.from_pretrained(locate(model.path), **where).eos_token_id
    except OSError:  # the model has no such settings
        known = None
    others = known if isinstance(known, list) else [known]
    return (end_id, *sorted({one for one in others if isinstance(one, int)} - {end_id}))


def _identity(policy: _Policy, how: Sampling, *, seed: int, part: int) -> dict[str, Any]:
    """Return what responses depend on; what changes nothing is not there."""
    sampling: dict[str, Any] = {
        "temperature": how.temperature,
        "num": how.num,
        "max_new_tokens": how.max_new_tokens,
        "end_id": policy.end_ids[0],
        "prompt": how.max_prompt_tokens,
        "seed": seed,
    }
    changes = {
        "top_p": (how.top_p, 1.0),
        "top_k": (how.top_k, 0),
        "repetition_penalty": (how.repetition_penalty, 1.0),
        "other_ends": (list(policy.end_ids[1:]), []),
        "part": (part, 0),
        "min_new_tokens": (how.min_new_tokens, 0),
    }
    sampling |= {name: value for name, (value, plain) in changes.items() if value != plain}
    return {"form": FORM, "model": policy.identity, "sampling": sampling}


def _key(identity: Mapping[str, Any], prompts: Sequence[Ids]) -> str:
    text = json.dumps({**identity, "prompts": prompts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _batch(
    policy: _Policy,
    asked: Sequence[tuple[Conversation, Ids]],
    *,
    how: Sampling,
    identity: Mapping[str, Any],
    folder: Path,
) -> list[Sampled]:
    """Return the responses to some prompts; they are sampled where they are not kept."""
    prompts, rows = [prompt for prompt, _ in asked], [ids for _, ids in asked]
    name = _key(identity, rows)
    path = folder / f"sampled-{name}.jsonl"
    if not path.is_file():
        seed = int(name[:15], 16)
        drawn = _sample(policy.model.get(), rows, how=how, end_ids=policy.end_ids, seed=seed)
        write_sampled(path, _answers(policy, prompts, drawn))
    # read again: the same answers, whether they were just sampled or kept
    kept = read_sampled(str(path))
    return [replace(one, prompt=prompt) for one, prompt in zip(kept, prompts, strict=True)]


def _batches(ids: Sequence[Ids], *, size: int) -> Iterator[list[int]]:
    """Give the numbers of prompts of similar length."""
    by_length = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    return (by_length[start : start + size] for start in range(0, len(ids), size))


def _answers(
    policy: _Policy, prompts: Sequence[Conversation], drawn: Sequence[Sequence[Sequence[int]]]
) -> list[Sampled]:
    found = []
    for prompt, rows in zip(prompts, drawn, strict=True):
        ended = [_until_end(row, policy.end_ids) for row in rows]
        texts = policy.tokenizer.batch_decode(
            [list(ids) for ids in ended], skip_special_tokens=True
        )
        found.append(
            Sampled(
                prompt,
                tuple(answer_turn(str(text)) for text in texts),
                tuple(ids[-1] in policy.end_ids for ids in ended),
                tuple(ended),
            )
        )
    return found


def _until_end(row: Sequence[int], end_ids: Ids) -> Ids:
    """Return the ids up to the first end token, which stays; what follows is padding."""
    places = [place for place, id_ in enumerate(row) if id_ in end_ids]
    return tuple(row[: places[0] + 1] if places else row)


def _sample(
    policy: PreTrainedModel,
    prompts: Sequence[Ids],
    *,
    how: Sampling,
    end_ids: Ids,
    seed: int,
) -> list[list[list[int]]]:
    """Return the token ids of the responses to each prompt, padded with the first end token."""
    ids_ST, mask_ST = (part.to(policy.device) for part in _pad_left(prompts))
    devices = [policy.device] if policy.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), quiet():
        torch.manual_seed(seed)
        # all responses to a prompt go on from one reading of it, but for its last token
        read = policy.base_model(
            input_ids=ids_ST[:, :-1],
            attention_mask=mask_ST[:, :-1],
            position_ids=(mask_ST[:, :-1].cumsum(1) - 1).clamp(min=0),
            use_cache=True,
        ).past_key_values
        read.batch_repeat_interleave(how.num)
        whole_RT = cast(Any, policy).generate(
            input_ids=ids_ST.repeat_interleave(how.num, dim=0),
            attention_mask=mask_ST.repeat_interleave(how.num, dim=0),
            past_key_values=read,
            min_new_tokens=how.min_new_tokens,
            max_new_tokens=how.max_new_tokens,
            eos_token_id=list(end_ids),
            pad_token_id=end_ids[0],
            repetition_penalty=how.repetition_penalty,
            **chance(how),
        )
    new_RT = whole_RT[:, ids_ST.shape[1] :]
    rows: list[list[list[int]]] = new_RT.reshape(len(prompts), how.num, -1).tolist()
    return rows


def _pad_left(prompts: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Return ids and mask; a prompt is padded with its own first token, which nobody reads.

    So the repetition penalty, which looks at ids alone, counts no token that is not there.
    """
    longest = max(map(len, prompts))
    ids = [row[:1] * (longest - len(row)) + row for row in prompts]
    mask = [(0,) * (longest - len(row)) + (1,) * len(row) for row in prompts]
    return torch.tensor(ids), torch.tensor(mask)
