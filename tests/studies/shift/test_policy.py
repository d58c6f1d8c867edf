import json

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from tamis.data.responses import read_responses
from tamis.errors import ConfigError, DataError
from tamis.models.load import load_language_model
from tamis.studies.shift.policy import (
    EMPTY,
    Answers,
    _pad_left,
    _sample,
    _Sampling,
    _turns,
    best_of,
    best_places,
    sample_answers,
    write_responses,
)
from tamis.types import Message

PROMPTS = [
    (Message("user", "the quick brown fox"),),
    (Message("user", "a good answer"), Message("assistant", "fox"), Message("user", "dog?")),
    (Message("user", "dog"),),
]
HOW = {"temperature": 1.0, "num": 3, "max_new_tokens": 6, "seed": 0}


def answers_of(*texts, prompt=PROMPTS[0]):
    return Answers(prompt, tuple((Message("assistant", text),) for text in texts))


def texts_of(answers):
    return [[turn.content for (turn,) in one.responses] for one in answers]


def test_each_prompt_gets_its_responses(llama, tmp_path):
    found = sample_answers(llama, PROMPTS, **HOW, folder=tmp_path)
    assert [one.prompt for one in found] == PROMPTS
    for one in found:
        assert len(one.responses) == 3
        for (turn,) in one.responses:
            assert turn.role == "assistant"
            assert turn.content == turn.content.strip() != ""
    assert len({text for texts in texts_of(found) for text in texts}) > 6


def test_samples_are_kept_and_a_function_of_all_they_depend_on(llama, tmp_path):
    first = sample_answers(llama, PROMPTS, **HOW, folder=tmp_path / "a")
    assert sample_answers(llama, PROMPTS, **HOW, folder=tmp_path / "b") == first
    (path,) = (tmp_path / "a").iterdir()
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    kept[0]["responses"][0][0]["content"] = "from the file"
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    again = sample_answers(llama, PROMPTS, **HOW, folder=tmp_path / "a")
    assert sum(text == "from the file" for texts in texts_of(again) for text in texts) == 1
    for change in ({"seed": 1}, {"temperature": 0.9}, {"num": 2}, {"max_new_tokens": 5}):
        other = sample_answers(llama, PROMPTS, **(HOW | change), folder=tmp_path / "a")
        assert texts_of(other) != texts_of(first)
    assert len(list((tmp_path / "a").iterdir())) == 5


def test_batches_are_kept_one_by_one(llama, tmp_path):
    """A study that was stopped goes on after its last batch, with the same responses."""
    how = HOW | {"num": 32, "max_new_tokens": 2}  # two prompts a batch
    whole = sample_answers(llama, PROMPTS, **how, folder=tmp_path)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 2
    before = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    assert sample_answers(llama, PROMPTS, **how, folder=tmp_path) == whole
    assert sorted(tmp_path.iterdir()) == paths
    assert paths[0].stat().st_mtime_ns == before


def test_random_numbers_of_others_stay_as_they_are(llama, tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    sample_answers(llama, PROMPTS[:1], **HOW, folder=tmp_path)
    assert torch.rand(1) == wanted


def test_reading_a_prompt_once_changes_no_response(llama):
    """The same as the library's own sampling, which reads the prompt once a response."""
    model = load_language_model(llama)
    with torch.no_grad():  # so that it matters where a token stands
        for weight in model.parameters():
            weight.mul_(8 if weight.ndim == 2 else 1)
    prompts = [(1, 30, 40, 50, 60, 70), (1, 33, 44)]
    how = _Sampling(temperature=1.2, num=4, max_new_tokens=8, end_id=2)
    found = _sample(model, prompts, how=how, seed=7)
    ids_ST, mask_ST = _pad_left(prompts, pad_id=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        whole_RT = model.generate(
            input_ids=ids_ST,
            attention_mask=mask_ST,
            num_return_sequences=4,
            do_sample=True,
            temperature=1.2,
            top_k=0,
            top_p=1.0,
            min_new_tokens=1,
            max_new_tokens=8,
            eos_token_id=2,
            pad_token_id=2,
        )
    assert found == whole_RT[:, 6:].reshape(2, 4, -1).tolist()
    assert len({tuple(row) for rows in found for row in rows}) == 8


def test_a_low_temperature_gives_the_likeliest_response(llama, tmp_path):
    cold = sample_answers(llama, PROMPTS, **(HOW | {"temperature": 1e-4}), folder=tmp_path)
    assert all(len(set(texts)) == 1 for texts in texts_of(cold))


def test_long_prompts_keep_their_end(llama, tmp_path):
    """Only the last 256 tokens are read, so what stands before them changes nothing."""
    same = "fox " * 300
    prompts = [(Message("user", before + same),) for before in ("dog " * 9, "cat " * 99)]
    how = HOW | {"max_new_tokens": 2}
    one, other = (
        sample_answers(llama, [prompt], **how, folder=tmp_path / str(number))
        for number, prompt in enumerate(prompts)
    )
    assert texts_of(one) == texts_of(other)


def test_a_model_without_a_chat_template_is_refused(llama, make_tokenizer, tmp_path):
    load_language_model(llama).save_pretrained(tmp_path)
    make_tokenizer(chat_template=None).save_pretrained(tmp_path)
    bare = llama.model_copy(update={"path": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"expected a chat template .* found none"):
        sample_answers(bare, PROMPTS, **HOW, folder=tmp_path / "samples")


def test_a_damaged_file_is_named(llama, tmp_path):
    sample_answers(llama, PROMPTS, **HOW, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text('{"prompt": "x"}\n')
    with pytest.raises(DataError, match=path.name):
        sample_answers(llama, PROMPTS, **HOW, folder=tmp_path)


def test_written_responses_are_read_by_the_meta_set(tmp_path):
    path = tmp_path / "new" / "responses.jsonl"
    answers = [answers_of("a", "é \u2028 ü", prompt=PROMPTS[1]), answers_of(EMPTY)]
    write_responses(path, answers)
    found = list(read_responses(str(path)))
    assert [(one.prompt, one.responses) for one in found] == [
        (one.prompt, one.responses) for one in answers
    ]


def test_the_best_of_each_run_is_kept():
    scores_PK = np.array([[0.0, 3.0, 2.0, 2.0, 9.0], [5.0, 4.0, -1.0, 0.0, 9.0]])
    assert best_places(scores_PK, n=2).tolist() == [[1, 2], [0, 3]]
    answers = [answers_of("a", "b", "c", "d", "e"), answers_of("f", "g", "h", "i", "j")]
    assert texts_of(best_of(answers, scores_PK, 2)) == [["b", "c"], ["f", "i"]]
    assert texts_of(best_of(answers, scores_PK, 5)) == [["e"], ["j"]]
    assert best_of(answers, scores_PK, 1) == answers
    with pytest.raises(ConfigError, match="best of 6 is asked for; expected 1 to 5"):
        best_of(answers, scores_PK, 6)


def test_white_space_alone_becomes_a_full_stop(llama):
    tokenizer = AutoTokenizer.from_pretrained(llama.path)
    ids = tokenizer(" \n ", add_special_tokens=False)["input_ids"]
    assert _turns(tokenizer, [*ids, tokenizer.eos_token_id]) == (Message("assistant", EMPTY),)
