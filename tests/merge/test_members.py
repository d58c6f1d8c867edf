import json
import shutil

import pytest
from transformers import AutoTokenizer

from tamis.errors import ConfigError
from tamis.merge.average import write_merged
from tamis.merge.members import open_members
from tamis.models.adapted import NOTES, load_adapted
from tamis.models.checkpoint import load_scorer
from tamis.models.config import ModelConfig


@pytest.fixture
def copy(three, tmp_path):
    """A copy of the second of three members, to be changed."""
    path = tmp_path / "copy"
    shutil.copytree(three[1], path)
    return path


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def problem(*paths, **options):
    with pytest.raises(ConfigError) as caught:
        open_members(list(paths), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_members_of_one_parent_are_accepted(three, adapted):
    assert [member.kind for member in open_members(three)] == ["checkpoint"] * 3
    adapters = open_members([path / "adapter" for path in adapted])
    assert {member.kind for member in adapters} == {"adapter"}
    assert adapters[0].start == open_members(adapted)[0].start is not None


def test_all_weights_and_adapters_of_one_parent_share_their_start(three, adapted):
    assert len({member.start for member in open_members([*three, *adapted])}) == 1


def test_another_head_at_the_start_is_refused(llama, three, make, tmp_path):
    other = make(llama, tmp_path / "other", seed=1, head_seed=9)
    found = problem(three[0], other)
    assert "were trained from different heads" in found
    assert str(other) in found
    assert "start from one checkpoint" in found


def test_another_parent_is_refused(llama, three, make, tmp_path):
    parent = llama.model_copy(update={"path": str(three[2])})
    other = make(parent, tmp_path / "other", seed=1)
    assert "were trained from different models: expected one parent" in problem(three[0], other)


def test_a_member_that_does_not_say_its_start_needs_the_option(three, copy):
    (copy / "start.json").unlink()
    found = problem(three[0], copy)
    assert f"{copy} does not say which weights it was trained from" in found
    assert "--unchecked-start" in found
    assert len(open_members([three[0], copy], start="unchecked")) == 2


def test_unchecked_still_compares_those_that_say_their_start(llama, three, copy, make, tmp_path):
    (copy / "start.json").unlink()
    other = make(llama, tmp_path / "other", seed=1, head_seed=9)
    found = problem(copy, three[0], other, start="unchecked")
    assert "different heads" in found


def test_a_damaged_record_is_named(three, copy):
    (copy / "start.json").write_text('{"trunk": 3}')
    assert "start.json: " in problem(three[0], copy)


def test_another_configuration_is_refused(three, copy):
    edit(copy / "config.json", rms_norm_eps=0.5)
    found = problem(three[0], copy)
    assert f"configuration of {copy} differs from that of {three[0]}" in found
    assert "rms_norm_eps is 0.5, expected 1e-06" in found


def test_what_may_differ_between_members_does_not_matter(three, copy):
    edit(copy / "config.json", mean=2.0, std=3.0, transformers_version="0")
    open_members([three[0], copy])


def test_other_shapes_are_refused(llama, three, make, tmp_path):
    small = make(llama.model_copy(update={"num_layers": 1}), tmp_path / "small", seed=1)
    for start in (three[0] / "start.json",):
        shutil.copyfile(start, small / "start.json")
    config = json.loads((three[0] / "config.json").read_text())
    (small / "config.json").write_text(json.dumps(config))
    found = problem(three[0], small)
    assert f"tensors of {small} differs" in found
    assert "model.layers.1" in found
    assert "is nothing, expected F32" in found


def test_another_vocabulary_is_refused(three, copy):
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_tokens(["newword"])
    tokenizer.save_pretrained(copy)
    found = problem(three[0], copy)
    assert f"tokenizer of {copy} differs" in found
    assert "newword is" in found


def test_another_chat_template_is_refused(three, copy):
    path = copy / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|", "<!"))
    assert f"chat template of {copy} differs" in problem(three[0], copy)


def test_another_length_is_refused(llama, three, make, tmp_path):
    short = make(llama.model_copy(update={"max_length": 64}), tmp_path / "short", seed=1)
    assert "max_length is 64, expected 256" in problem(three[0], short)


@pytest.mark.parametrize("number", [0, 1])
def test_one_model_is_no_merge(three, number):
    assert "expected at least two" in problem(*three[:number])


def test_the_same_model_twice_is_refused(three):
    found = problem(three[0], three[1], three[0] / ".." / three[0].name)
    assert "is to be merged twice" in found


def test_what_is_no_model_is_refused(three, adapted, tmp_path):
    assert "expected the directory of a checkpoint, found nothing" in problem(
        three[0], tmp_path / "none"
    )
    (tmp_path / "file").write_text("x")
    assert "found a file there" in problem(three[0], tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "expected config.json and model.safetensors" in problem(three[0], tmp_path / "empty")
    mixed = problem(three[0], adapted[0] / "adapter")
    assert "is an adapter, " in mixed
    assert "is a checkpoint: expected one kind" in mixed


def test_adapters_that_have_no_average_are_refused(adapted, tmp_path):
    paths = []
    for number, path in enumerate(adapted):
        paths.append(tmp_path / f"a{number}")
        shutil.copytree(path / "adapter", paths[-1])
        edit(paths[-1] / "adapter_config.json", use_dora=True)
    assert "use_dora is True, expected False: only plain LoRA" in problem(*paths)
    for path in paths:
        edit(path / "adapter_config.json", use_dora=False, target_parameters=["experts.up"])
    assert "target_parameters is ['experts.up'], expected None" in problem(*paths)
    for path in paths:
        edit(path / "adapter_config.json", target_parameters=[], trainable_token_indices=[3])
    assert "trainable_token_indices is [3], expected None" in problem(*paths)
    for path in paths:
        edit(path / "adapter_config.json", trainable_token_indices=None)
    assert len(open_members(paths)) == 2


@pytest.fixture
def foreign(llama, make, tmp_path):
    """Two adapters that do not say what they were trained from."""
    made = [tmp_path / f"f{seed}" for seed in range(2)]
    return [
        make(llama, path, seed=seed, rank=2, recorded=False) / "adapter"
        for seed, path in enumerate(made)
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layers_to_transform": [0]}, "layers by number is [0], expected [0, 1]"),
        ({"layers_to_transform": 0}, "layers by number is [0], expected [0, 1]"),
        ({"layers_pattern": "blocks"}, "layers by pattern is 'blocks', expected None"),
        ({"exclude_modules": ["o_proj"]}, "layers left out is ['o_proj'], expected None"),
    ],
)
def test_adapters_on_different_layers_are_refused(foreign, settings, said):
    for path in foreign:
        edit(path / "adapter_config.json", layers_to_transform=[1, 0], exclude_modules=[])
    edit(foreign[1] / "adapter_config.json", layers_to_transform=[0, 1], exclude_modules=None)
    assert len(open_members(foreign, start="unchecked")) == 2
    edit(foreign[1] / "adapter_config.json", **settings)
    assert said in problem(*foreign, start="unchecked")


def test_adapters_with_biases_of_their_own_are_refused(foreign):
    for path in foreign:
        edit(path / "adapter_config.json", lora_bias=True)
    assert "lora_bias is True, expected False" in problem(*foreign, start="unchecked")


def test_adapters_with_other_templates_are_refused(foreign):
    for number, path in enumerate(foreign):
        (path / "chat_template.jinja").write_text(f"{number} {{{{ messages[0].content }}}}")
    assert "chat template of" in problem(*foreign, start="unchecked")


def test_an_average_of_adapters_renders_by_the_template_beside_them(foreign, tmp_path):
    template = "mine {% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    for path in foreign:
        (path / "chat_template.jinja").write_text(template)
    write_merged(open_members(foreign, start="unchecked"), weights_K=[1, 1], out=tmp_path / "out")
    talk = [{"role": "user", "content": "a fox"}, {"role": "assistant", "content": "a dog"}]
    found = load_scorer(str(tmp_path / "out")).tokenizer.apply_chat_template(talk, tokenize=False)
    assert found == "<s>mine a fox</s>a dog</s>"


def test_an_adapter_with_another_vocabulary_than_its_base_is_refused(foreign, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(foreign[1].parent)
    tokenizer.add_tokens(["something_new"])
    tokenizer.save_pretrained(foreign[1])
    (foreign[1] / "chat_template.jinja").unlink(missing_ok=True)
    members = open_members(foreign, start="unchecked")
    with pytest.raises(ConfigError, match="has another vocabulary than that of its base"):
        write_merged(members, weights_K=[1.0, 1.0], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_adapters_say_of_their_texts_stays_with_their_average(adapted, tmp_path):
    paths = []
    for number, path in enumerate(adapted):
        paths.append(tmp_path / f"a{number}")
        shutil.copytree(path / "adapter", paths[-1])
        (paths[-1] / NOTES).write_text(json.dumps({"principles_layout": "answer_first"}))
    write_merged(open_members(paths), weights_K=[1.0, 1.0], out=tmp_path / "out")
    alone, _ = load_adapted(ModelConfig(path=str(paths[0])), default_max_length=64)
    for model in (load_scorer(str(tmp_path / "out")).model, alone):
        assert model.config.principles_layout == "answer_first"
    (paths[1] / NOTES).unlink()
    assert "notes of" in problem(*paths)
