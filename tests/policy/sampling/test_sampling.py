import json

import pytest
import torch
from transformers import AutoTokenizer

from tamis.errors import ConfigError, DataError
from tamis.models.load import load_language_model
from tamis.models.source import quiet
from tamis.policy.sampling.config import Sampling
from tamis.policy.sampling.draw import chance
from tamis.policy.sampling.sample import (
    _answers,
    _end_ids,
    _open,
    _pad_left,
    _sample,
    sample_responses,
)
from tamis.types import Message

PROMPTS = [
    (Message("user", "the quick brown fox"),),
    (Message("user", "a good answer"), Message("assistant", "fox"), Message("user", "dog?")),
    (Message("user", "dog"),),
]
LENGTHS = ("max_new_tokens", "min_new_tokens")
HOW = Sampling(num=3, max_new_tokens=6, max_prompt_tokens=64)


def changed(**settings):
    return HOW.model_copy(update=settings)


def texts_of(answers):
    return [[turn.content for (turn,) in one.responses] for one in answers]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def loud(llama):
    """The tiny model with large weights, so that it matters where a token stands."""
    model = load_language_model(llama)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8 if weight.ndim == 2 else 1)
    return model


def test_each_prompt_gets_its_responses(llama, tmp_path):
    found = sample_responses(llama, PROMPTS, how=HOW, seed=0, folder=tmp_path)
    assert [one.prompt for one in found] == PROMPTS
    tokenizer = AutoTokenizer.from_pretrained(llama.path)
    for one in found:
        assert len(one.responses) == len(one.finished) == len(one.ids) == 3
        for (turn,), finished, ids in zip(one.responses, one.finished, one.ids, strict=True):
            assert turn.role == "assistant"
            assert turn.content == turn.content.strip() != ""
            assert finished == (ids[-1] == tokenizer.eos_token_id)
            assert tokenizer.eos_token_id not in ids[:-1]
            assert len(ids) == 6 or (finished and len(ids) < 6)
            assert tokenizer.decode(ids, skip_special_tokens=True).strip() in (turn.content, "")
    assert len({text for texts in texts_of(found) for text in texts}) > 6


def test_samples_are_kept_and_a_function_of_all_they_depend_on(llama, tmp_path):
    first = sample_responses(llama, PROMPTS, how=HOW, seed=0, folder=tmp_path / "a")
    assert sample_responses(llama, PROMPTS, how=HOW, seed=0, folder=tmp_path / "b") == first
    (path,) = (tmp_path / "a").iterdir()
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    kept[0]["responses"][0][0]["content"] = "from the file"
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    again = sample_responses(llama, PROMPTS, how=HOW, seed=0, folder=tmp_path / "a")
    assert sum(text == "from the file" for texts in texts_of(again) for text in texts) == 1
    changes = [
        {"temperature": 0.9},
        {"num": 2},
        {"max_new_tokens": 5},
        {"top_k": 3},
        {"top_p": 0.2},
        {"repetition_penalty": 1.5},
    ]
    for change in changes:
        how = changed(**change)
        other = sample_responses(llama, PROMPTS, how=how, seed=0, folder=tmp_path / "a")
        assert texts_of(other) != texts_of(first), change
    other = sample_responses(llama, PROMPTS, how=HOW, seed=1, folder=tmp_path / "a")
    assert texts_of(other) != texts_of(first)
    assert len(names_in(tmp_path / "a")) == 2 + len(changes)


def test_batches_are_kept_one_by_one(llama, tmp_path):
    """Sampling that was stopped goes on after its last batch, with the same responses."""
    how = changed(num=32, max_new_tokens=2)  # two prompts a batch
    whole = sample_responses(llama, PROMPTS, how=how, seed=0, folder=tmp_path)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 2
    before = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    assert sample_responses(llama, PROMPTS, how=how, seed=0, folder=tmp_path) == whole
    assert sorted(tmp_path.iterdir()) == paths
    assert paths[0].stat().st_mtime_ns == before


def test_more_responses_go_on_from_those_that_are_there(llama, tmp_path):
    few = changed(num=64, max_new_tokens=1)
    first = sample_responses(llama, PROMPTS[:2], how=few, seed=0, folder=tmp_path)
    assert len(names_in(tmp_path)) == 2
    more = few.model_copy(update={"num": 130})
    found = sample_responses(llama, PROMPTS[:2], how=more, seed=0, folder=tmp_path)
    assert len(names_in(tmp_path)) == 2 + 2 + 1
    for one, before in zip(found, first, strict=True):
        assert len(one.responses) == len(one.finished) == len(one.ids) == 130
        assert one.responses[:64] == before.responses
        assert one.ids[64:128] != before.ids


def test_random_numbers_of_others_stay_as_they_are(llama, tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    sample_responses(llama, PROMPTS[:1], how=HOW, seed=0, folder=tmp_path)
    assert torch.rand(1) == wanted


def test_reading_a_prompt_once_changes_no_response(loud):
    """The same as where the library reads it once a response, and draws the same way."""
    prompts = [(1, 30, 40, 50, 60, 70), (1, 33, 44)]
    settings = {
        "temperature": 1.2,
        "top_k": 300,
        "top_p": 0.99,
        "repetition_penalty": 1.1,
        "max_new_tokens": 8,
        "min_new_tokens": 1,
    }
    how = Sampling(num=4, **settings)
    found = _sample(loud, prompts, how=how, end_ids=(2,), seed=7)
    ids_ST, mask_ST = _pad_left(prompts)
    own = {name: settings[name] for name in ("repetition_penalty", *LENGTHS)}
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(7)
        whole_RT = loud.generate(
            input_ids=ids_ST.repeat_interleave(4, dim=0),
            attention_mask=mask_ST.repeat_interleave(4, dim=0),
            eos_token_id=2,
            pad_token_id=2,
            **own,
            **chance(how),
        )
    assert found == whole_RT[:, 6:].reshape(2, 4, -1).tolist()
    assert len({tuple(row) for rows in found for row in rows}) == 8


def test_a_response_may_end_at_once_unless_it_must_not(loud):
    how = Sampling(temperature=0, num=1, max_new_tokens=3)
    prompt = (1, 33, 44)
    ((first, *_),) = _sample(loud, [prompt], how=how, end_ids=(2,), seed=0)[0]
    assert _sample(loud, [prompt], how=how, end_ids=(first,), seed=0) == [[[first]]]
    later = how.model_copy(update={"min_new_tokens": 1})
    ((other, *_),) = _sample(loud, [prompt], how=later, end_ids=(first,), seed=0)[0]
    assert other != first


def test_a_response_that_ends_at_once_is_a_full_stop_with_its_end_token(llama):
    policy = _open(llama)
    end = policy.end_ids[0]
    (found,) = _answers(policy, PROMPTS[:1], [[[end, end, end]]])
    assert found.responses == ((Message("assistant", "."),),)
    assert (found.ids, found.finished) == (((end,),), (True,))


def test_a_response_cannot_be_longer_than_it_may_be():
    with pytest.raises(ValueError, match="min_new_tokens is 7 and max_new_tokens is 6"):
        Sampling(min_new_tokens=7, max_new_tokens=6)


def test_the_penalty_counts_no_token_that_pads_a_prompt(loud):
    """A prompt gets the same greedy response alone and beside a longer one."""
    how = Sampling(temperature=0, num=1, repetition_penalty=3.0, max_new_tokens=8)
    short, long = (1, 33, 44), (1, 30, 40, 50, 60, 70)
    (alone,), *_ = _sample(loud, [short], how=how, end_ids=(2,), seed=0)
    _, (beside,) = _sample(loud, [long, short], how=how, end_ids=(2,), seed=0)
    assert beside == alone
    ids_ST, mask_ST = _pad_left([long, short])
    assert ids_ST[1].tolist() == [1, 1, 1, 1, 33, 44]
    assert mask_ST[1].tolist() == [0, 0, 0, 1, 1, 1]
    free = how.model_copy(update={"repetition_penalty": 1.0})
    assert _sample(loud, [short], how=free, end_ids=(2,), seed=0) != [[alone]]


def test_a_low_temperature_and_none_give_the_likeliest_response(llama, tmp_path):
    cold = changed(temperature=1e-4)
    found = sample_responses(llama, PROMPTS, how=cold, seed=0, folder=tmp_path)
    assert all(len(set(texts)) == 1 for texts in texts_of(found))
    greedy = changed(temperature=0, num=1)
    likeliest = sample_responses(llama, PROMPTS, how=greedy, seed=3, folder=tmp_path)
    assert texts_of(likeliest) == [texts[:1] for texts in texts_of(found)]
    with pytest.raises(ConfigError, match=r"temperature 0 gives one response .* found 3"):
        sample_responses(llama, PROMPTS, how=changed(temperature=0), seed=0, folder=tmp_path)


def test_few_tokens_are_drawn_from_where_that_is_wanted(llama, tmp_path):
    narrow = changed(top_k=1, num=4)
    found = sample_responses(llama, PROMPTS, how=narrow, seed=0, folder=tmp_path)
    assert all(len(set(texts)) == 1 for texts in texts_of(found))


def test_long_prompts_keep_their_end(llama, tmp_path):
    """Only the last tokens are read, so what stands before them changes nothing."""
    prompts = [(Message("user", before + "fox " * 90),) for before in ("dog " * 9, "cat " * 99)]
    how = changed(max_new_tokens=2)
    one, other = (
        sample_responses(llama, [prompt], how=how, seed=0, folder=tmp_path / str(number))
        for number, prompt in enumerate(prompts)
    )
    assert texts_of(one) == texts_of(other)
    assert one[0].prompt == prompts[0]


def test_all_end_tokens_of_a_model_end_a_response(llama, tmp_path, make_tokenizer):
    model = load_language_model(llama)
    model.generation_config.eos_token_id = [2, 40, 41]
    model.generation_config.suppress_tokens = [40]  # which nobody asks for
    model.save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    config = llama.model_copy(update={"path": str(tmp_path / "model")})
    assert _end_ids(config, 2) == (2, 40, 41)
    assert _end_ids(llama, 2) == (2,)
    how = changed(num=64, max_new_tokens=20)
    (found,) = sample_responses(config, PROMPTS[:1], how=how, seed=0, folder=tmp_path / "kept")
    ended = [ids for ids, end in zip(found.ids, found.finished, strict=True) if end]
    assert {ids[-1] for ids in ended} == {2, 40, 41}
    assert not any({2, 40, 41} & set(ids[:-1]) for ids in found.ids)
    assert len(set(found.ids)) > 32


def test_a_model_without_a_chat_template_is_refused(llama, make_tokenizer, tmp_path):
    load_language_model(llama).save_pretrained(tmp_path)
    make_tokenizer(chat_template=None).save_pretrained(tmp_path)
    bare = llama.model_copy(update={"path": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"expected a chat template .* found none"):
        sample_responses(bare, PROMPTS, how=HOW, seed=0, folder=tmp_path / "samples")


def test_a_prompt_that_the_template_refuses_is_named(llama, make_tokenizer, tmp_path):
    load_language_model(llama).save_pretrained(tmp_path)
    template = "{{ raise_exception('no system here') if messages[0]['role'] == 'system' }}"
    make_tokenizer(chat_template=template).save_pretrained(tmp_path)
    picky = llama.model_copy(update={"path": str(tmp_path)})
    prompt = (Message("system", "x"), Message("user", "hello"))
    with pytest.raises(DataError, match=r"\['system', 'user'\], 'hello' last: no system here"):
        sample_responses(picky, [prompt], how=HOW, seed=0, folder=tmp_path / "samples")


def test_a_damaged_file_is_named(llama, tmp_path):
    sample_responses(llama, PROMPTS, how=HOW, seed=0, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text('{"prompt": "x"}\n')
    with pytest.raises(DataError, match=path.name):
        sample_responses(llama, PROMPTS, how=HOW, seed=0, folder=tmp_path)


def test_no_prompt_no_response(llama, tmp_path):
    assert sample_responses(llama, [], how=HOW, seed=0, folder=tmp_path) == []
