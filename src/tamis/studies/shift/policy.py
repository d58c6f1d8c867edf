"""A policy that shifts: responses sampled from a language model, and the best of several.

Shape legend: P prompts, K responses to each, S prompts of a batch, R their responses, T tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tamis.data.responses import read_responses
from tamis.errors import ConfigError, shorten
from tamis.models.config import ModelConfig
from tamis.models.load import load_language_model, to_accelerator
from tamis.models.source import loading, locate, quiet
from tamis.models.template import has_reward_template
from tamis.runs import fingerprint, progress, write_text
from tamis.studies.shift.records import Answers, Floats
from tamis.types import Conversation, Message

PROMPT_TOKENS = 256
BATCH_RESPONSES = 64  # sampled at once
EMPTY = "."
FORM = 1  # raised where responses kept by an earlier version would be others

Places = NDArray[np.int64]
Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Sampling:
    temperature: float
    num: int
    max_new_tokens: int
    end_id: int


def sample_answers(
    model: ModelConfig,
    prompts: Sequence[Conversation],
    *,
    temperature: float,
    num: int,
    max_new_tokens: int = 48,
    seed: int,
    folder: Path,
) -> list[Answers]:
    """Sample ``num`` responses to each prompt from a chat model, from its whole distribution.

    The model reads the last 256 tokens of a prompt in its own chat template. A response ends where
    the model ends it or after ``max_new_tokens``; its first token is never the end, and a response
    of white space alone becomes a full stop, so that there is none that no reward model could read.
    White space around a response is dropped.

    Prompts of similar length are sampled together. Each batch is written atomically to a file in
    ``folder`` whose name is a hash of all that it depends on, which seeds its draws as well: a
    study that was killed goes on after its last batch, with the same responses.

    Args:
        model: a chat model, all of whose layers are used unless it says otherwise.
        prompts: conversations that end before an answer.
        temperature: above 0; the logits are divided by it.
        num: responses to each prompt.
        max_new_tokens: tokens of a response at most.
        seed: of the draws.
        folder: where samples are kept.

    Raises:
        ConfigError: the model cannot be loaded, has no chat template, or is a reward model.
        DataError: a file in ``folder`` is damaged.
    """
    tokenizer = _chat_tokenizer(model)
    ids_P = [_prompt_ids(tokenizer, prompt) for prompt in prompts]
    how = _Sampling(temperature, num, max_new_tokens, int(tokenizer.eos_token_id))
    identity = _identity(model, how, seed=seed)
    policy: PreTrainedModel | None = None
    found: dict[int, Answers] = {}
    with progress(f"sampling at {temperature:g}", total=len(prompts)) as advance:
        for batch in _batches(ids_P, size=max(1, BATCH_RESPONSES // num)):
            rows = [ids_P[number] for number in batch]
            key = _key(identity, rows)
            path = folder / f"sampled-{key}.jsonl"
            if not path.is_file():
                policy = _policy(model) if policy is None else policy
                sampled = _sample(policy, rows, how=how, seed=int(key[:15], 16))
                texts = [tuple(_turns(tokenizer, ids) for ids in own) for own in sampled]
                asked = [prompts[number] for number in batch]
                write_responses(path, [Answers(*one) for one in zip(asked, texts, strict=True)])
            # read again: the same answers, whether they were just sampled or kept
            for number, item in zip(batch, read_responses(str(path)), strict=True):
                found[number] = Answers(prompts[number], item.responses)
            advance(len(batch))
    return [found[number] for number in range(len(prompts))]


def write_responses(path: Path, answers: Sequence[Answers]) -> None:
    """Write prompts with their responses as JSONL, atomically; `read_responses` reads it."""
    lines = [
        json.dumps(
            {
                "prompt": [asdict(message) for message in one.prompt],
                "responses": [[asdict(m) for m in response] for response in one.responses],
            }
        )
        for one in answers
    ]
    write_text(path, "".join(f"{line}\n" for line in lines))


def best_places(scores_PK: Floats, *, n: int) -> Places:
    """Return which responses win when each ``n`` in order compete, [P, K // n]; a tie goes first.

    What is left after the last whole run of ``n`` does not compete.

    Raises:
        ConfigError: ``n`` is below 1 or there are fewer than ``n`` responses.

    >>> best_places(np.array([[0.0, 2.0, 5.0, 1.0, 9.0]]), n=2).tolist()
    [[1, 2]]
    """
    num_prompts, num_responses = scores_PK.shape
    if not 1 <= n <= num_responses:
        raise ConfigError(f"the best of {n} is asked for; expected 1 to {num_responses} responses")
    num_runs = num_responses // n
    run_PRN = scores_PK[:, : num_runs * n].reshape(num_prompts, num_runs, n)
    return np.asarray(run_PRN.argmax(axis=2) + n * np.arange(num_runs), np.int64)


def keep_answers(answers: Sequence[Answers], places_PK: Places) -> list[Answers]:
    """Return the responses at these places, in their order."""
    return [
        Answers(one.prompt, tuple(one.responses[at] for at in places_K))
        for one, places_K in zip(answers, places_PK.tolist(), strict=True)
    ]


def best_of(answers: Sequence[Answers], scores_PK: Floats, n: int) -> list[Answers]:
    """Cut the responses to each prompt into runs of ``n``, and keep the best of each run.

    Raises:
        ConfigError: see `best_places`.
    """
    return keep_answers(answers, best_places(scores_PK, n=n))


def _chat_tokenizer(model: ModelConfig) -> PreTrainedTokenizerBase:
    with loading(model.path), quiet():
        # the template of a reward model would end the prompt
        tokenizer = AutoTokenizer.from_pretrained(
            locate(model.path),
            revision=model.revision,
            trust_remote_code=model.trust_remote_code,
        )
    if tokenizer.chat_template is None or has_reward_template(tokenizer):
        found = "none" if tokenizer.chat_template is None else "that of a reward model"
        raise ConfigError(
            f"model {shorten(model.path)} cannot be sampled from: expected a chat template that "
            f"begins an answer, found {found}"
        )
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"the tokenizer of {shorten(model.path)} has no end token to stop at")
    return cast(PreTrainedTokenizerBase, tokenizer)


def _prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Conversation) -> Ids:
    messages = [asdict(message) for message in prompt]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(str(text), add_special_tokens=False, verbose=False)["input_ids"]
    return tuple(ids[-PROMPT_TOKENS:])


def _identity(model: ModelConfig, how: _Sampling, *, seed: int) -> dict[str, Any]:
    location = Path(locate(model.path))
    weights = fingerprint(location) if location.is_dir() else model.path
    return {
        "form": FORM,
        "model": {**model.model_dump(exclude={"path"}), "weights": weights},
        "sampling": {**asdict(how), "prompt": PROMPT_TOKENS, "seed": seed},
    }


def _policy(model: ModelConfig) -> PreTrainedModel:
    policy = load_language_model(model)
    to_accelerator(policy)
    return policy


def _key(identity: dict[str, Any], prompts: Sequence[Ids]) -> str:
    text = json.dumps({**identity, "prompts": prompts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _batches(ids: Sequence[Ids], *, size: int) -> Iterator[list[int]]:
    """Give the numbers of prompts of similar length."""
    by_length = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    return (by_length[start : start + size] for start in range(0, len(ids), size))


def _sample(
    policy: PreTrainedModel, prompts: Sequence[Ids], *, how: _Sampling, seed: int
) -> list[list[list[int]]]:
    """Return the token ids of the responses to each prompt."""
    ids_ST, mask_ST = (part.to(policy.device) for part in _pad_left(prompts, pad_id=how.end_id))
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
            do_sample=True,
            temperature=how.temperature,
            top_k=0,
            top_p=1.0,
            min_new_tokens=1,
            max_new_tokens=how.max_new_tokens,
            eos_token_id=how.end_id,
            pad_token_id=how.end_id,
        )
    new_RT = whole_RT[:, ids_ST.shape[1] :]
    rows: list[list[list[int]]] = new_RT.reshape(len(prompts), how.num, -1).tolist()
    return rows


def _pad_left(prompts: Sequence[Ids], *, pad_id: int) -> tuple[Tensor, Tensor]:
    longest = max(map(len, prompts))
    ids = [(pad_id,) * (longest - len(row)) + row for row in prompts]
    mask = [(0,) * (longest - len(row)) + (1,) * len(row) for row in prompts]
    return torch.tensor(ids), torch.tensor(mask)


def _turns(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Conversation:
    text = str(tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
    return (Message("assistant", text or EMPTY),)
