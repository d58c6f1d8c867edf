from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tamis.models.source import quiet
from tamis.types import Message, Pair


@pytest.fixture(scope="session")
def foreign(llama, tmp_path_factory: pytest.TempPathFactory):
    """Makes a reward model as others publish them: transformers alone, and a tokenizer beside it.

    Its chat template ends with a newline behind the end token, as many do.
    """

    def make(name: str, *, pad: str | None = "<pad>", template: str | None = "own") -> Path:
        folder: Path = tmp_path_factory.mktemp("foreign") / name
        tokenizer = AutoTokenizer.from_pretrained(llama.path)
        if template != "own":
            tokenizer.chat_template = template
        tokenizer.pad_token = pad
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(3)
            model = AutoModelForSequenceClassification.from_pretrained(llama.path, num_labels=1)
        torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(4))
        model.config.pad_token_id = tokenizer.pad_token_id
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def talk() -> list[Pair]:
    """Six pairs on three prompts."""
    rows = [
        ("a", "Name a fox.", "The quick brown fox.", "No."),
        ("a", "Name a fox.", "The lazy dog, which is no fox at all.", "No."),
        ("b", "Count to three, slowly.", "1 2 3", "3 2 1 0 " * 5),
        ("b", "Count to three, slowly.", "1 2 3", "Go away."),
        ("c", "", "A good answer.", "A worse answer, and a longer one."),
        ("c", "", "A worse answer.", "?"),
    ]
    return [
        Pair(
            f"p{number}",
            (Message("user", prompt),) if prompt else (),
            (Message("assistant", chosen),),
            (Message("assistant", rejected),),
            group=group,
            row=number,
        )
        for number, (group, prompt, chosen, rejected) in enumerate(rows)
    ]
