"""Fixtures shared by all tests."""

import gc
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, settings

# before torch is imported: threads that spin while they wait starve each other on few cores
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# how long an example takes says nothing about it on a machine that is busy
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

pytest_plugins = ("tiny_llama", "memory", "servers", "hub")


@pytest.fixture(scope="module", autouse=True)
def frozen() -> None:
    """Have garbage looked for among the objects of the tests that run alone.

    Every training looks for garbage, and what thousands of collected tests and imported libraries
    hold would make that the larger part of a short one.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def undrawn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave matplotlib's drawing out where no test looks at pictures: their words are kept.

    Tests of reports and studies have their pictures drawn, and so has a module with the mark
    ``pictures``. Drawing took an eighth of the time of all tests.
    """
    looks = {"report", "studies"}.intersection(request.path.parts)
    with pytest.MonkeyPatch.context() as patch:
        if not looks and request.node.get_closest_marker("pictures") is None:
            patch.setattr("matplotlib.figure.Figure.savefig", _write_words)
        yield


def _write_words(figure: Any, stream: TextIO, **_how: object) -> None:
    """Write the words of a picture alone."""
    from matplotlib.text import Text

    words = escape(" ".join(text.get_text() for text in figure.findobj(Text)))
    stream.write(f'<svg viewBox="0 0 1 1"><text>{words}</text></svg>')


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the development data sets; tests that need it are skipped without it."""
    value = os.environ.get("TAMIS_DATA_DIR")
    if not value:
        pytest.skip("TAMIS_DATA_DIR is not set: the development data sets are not here")
    return Path(value)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The directory of a random BERT of two layers that reads at most 64 tokens."""
    import torch
    from transformers import BertConfig, BertModel

    path = tmp_path_factory.mktemp("tiny") / "bert"
    tokenizer = _tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            pad_token_id=tokenizer.pad_token_id,
        )
        BertModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def _tiny_tokenizer():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789?.,!:"
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = ["good", "bad", "question", "fox", "dog", "user", "assistant"]
    vocab = [*specials, *letters, *(f"##{letter}" for letter in letters), *words]
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(vocab)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )


def preference_rows(num_rows: int) -> list[dict[str, object]]:
    """Rows of preference data that can be learnt: a good answer beats a bad one, mostly.

    Every fifth label is wrong, and ``gold`` knows. Texts do not recur, prompts do.
    """
    rng = random.Random(0)
    rows = []
    for index in range(num_rows):
        filler = " ".join(rng.choice(["quick", "brown", "fox", "dog"]) for _ in range(index % 6))
        sides = [f"good {filler} {index}", f"bad {filler} {index}"]
        wrong = index % 5 == 4
        chosen, rejected = reversed(sides) if wrong else sides
        prompt = f"question {index % 12}"
        row = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "gold": float(not wrong)}
        rows.append(row)
    return rows


def write_preferences(path: Path, num_rows: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in preference_rows(num_rows)))
    return path


@pytest.fixture(scope="session")
def make_preferences() -> Callable[[Path, int], Path]:
    """Writes a file of so many rows of preference data."""
    return write_preferences


@pytest.fixture(scope="session")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 60 rows of preference data."""
    return write_preferences(tmp_path_factory.mktemp("preferences") / "preferences.jsonl", 60)
