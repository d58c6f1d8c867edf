"""A learned-position decoder, and chat templates as the well-known families write them."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tamis.models.config import ModelConfig
from tamis.models.head import output_layer
from tamis.models.load import load_reward_model
from tamis.models.source import quiet
from tamis.types import Message, Pair

CHATML = (
    "{%- if messages[0]['role'] != 'system' %}"
    "{{- '<|im_start|>system\\nYou are kind.<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
)
LLAMA_3 = (
    "{{- bos_token }}"
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}"
    "{%- set date_string = '26 Jul 2024' %}{%- endif %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + date_string }}"
    "{{- '\\n\\n<|eot_id|>' }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}"
)


@dataclass(frozen=True, slots=True)
class Family:
    """What a family's tokenizer looks like; ``begin``: it puts BOS before any text by itself."""

    specials: tuple[str, ...]
    eos: str
    pad: str | None = None
    bos: str | None = None
    unk: str | None = None
    begin: bool = False
    template: str | None = None


FAMILIES = {
    "chatml": Family(
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        eos="<|im_end|>",
        pad="<|endoftext|>",
        template=CHATML,
    ),
    "llama 3": Family(
        (
            "<|begin_of_text|>",
            "<|reserved_special_token_0|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
        ),
        eos="<|eot_id|>",
        bos="<|begin_of_text|>",
        begin=True,
        template=LLAMA_3,
    ),
    "gemma": Family(
        ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        eos="<eos>",
        pad="<pad>",
        bos="<bos>",
        unk="<unk>",
        begin=True,
        template=GEMMA,
    ),
    "plain": Family(
        ("<unk>", "<s>", "</s>"), eos="</s>", bos="<s>", unk="<unk>", begin=True, pad="</s>"
    ),
}


def byte_tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """A tokenizer with one token for each byte of text, and the family's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([*family.specials, *alphabet])}
    model = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token=family.unk))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.decoder = decoders.ByteLevel()
    model.add_special_tokens([AddedToken(token, special=True) for token in family.specials])
    if family.begin:
        model.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, vocab[family.bos])]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.pad,
        unk_token=family.unk,
        model_max_length=256,
    )
    tokenizer.chat_template = family.template
    return tokenizer


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory, make_tokenizer) -> ModelConfig:
    """A random GPT-2 with positions that are learned, and with dropout."""
    path = tmp_path_factory.mktemp("gpt2")
    tokenizer = make_tokenizer()
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=256,
            initializer_range=0.2,  # positions and neighbours that matter, as trained ones do
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        GPT2LMHeadModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return ModelConfig(path=str(path))


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory, tiny_bert: str) -> ModelConfig:
    """A random BERT whose weights are large enough for its [CLS] to see the text."""
    path = tmp_path_factory.mktemp("bert")
    config = BertConfig.from_pretrained(tiny_bert, initializer_range=0.2)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(path)
    return ModelConfig(path=str(path))


@pytest.fixture(params=["llama", "gpt2"])
def decoder(request: pytest.FixtureRequest) -> ModelConfig:
    """A model with rotary positions, and one with learned positions."""
    config: ModelConfig = request.getfixturevalue(request.param)
    return config


@pytest.fixture(params=["llama", "gpt2", "bert"])
def model_config(request: pytest.FixtureRequest) -> ModelConfig:
    """The two decoders and an encoder."""
    config: ModelConfig = request.getfixturevalue(request.param)
    return config


@pytest.fixture(scope="session")
def load_spread() -> Callable[[ModelConfig], PreTrainedModel]:
    """Loads a reward model with scores as far apart as those of a trained one."""

    def load(config: ModelConfig) -> PreTrainedModel:
        model = load_reward_model(config, seed=1)
        with torch.no_grad():
            output_layer(model).weight.mul_(30)
        return model

    return load


@pytest.fixture(scope="session")
def with_tokenizer(
    llama: ModelConfig, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[PreTrainedTokenizerFast], ModelConfig]:
    """Writes a directory with a Llama's configuration and the given tokenizer."""

    def write(tokenizer: PreTrainedTokenizerFast) -> ModelConfig:
        path: Path = tmp_path_factory.mktemp("tokenizer")
        shutil.copy(Path(llama.path) / "config.json", path)
        tokenizer.save_pretrained(path)
        return ModelConfig(path=str(path))

    return write


@pytest.fixture(scope="session")
def family_config(with_tokenizer) -> Callable[[str], ModelConfig]:
    """Writes the tokenizer of a family beside a Llama's configuration."""
    return lambda name: with_tokenizer(byte_tokenizer(FAMILIES[name]))


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., Pair]:
    """Makes a pair of one prompt and two answers, given as texts."""

    def make(prompt: str, chosen: str, rejected: str, *, number: int = 0) -> Pair:
        turns = (Message("user", prompt),) if prompt else ()
        sides = [(Message("assistant", text),) for text in (chosen, rejected)]
        return Pair(f"p{number}", turns, *sides, group=prompt, row=number)

    return make


@pytest.fixture(scope="session")
def talks(make_pair) -> list[Pair]:
    """Sixteen short pairs of uneven length that fit into 64 tokens of any of the tokenizers."""
    words = ["fox", "good dog", "no", "bad answer", "lazy", "yes."]
    return [
        make_pair("Hi" * (n % 3), words[n % 6] * (1 + n % 2), words[(n + 1 + n // 6) % 6], number=n)
        for n in range(16)
    ]
