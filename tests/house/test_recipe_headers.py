"""What the headers of the published recipes tell people to type or open exists."""

import pytest
from published import RECIPES, launch_lines, option

from tamis.recipes.files import load_recipe


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_launch_lines_name_what_is_there(path, root, commands):
    recipe = load_recipe(path)
    check, read, launch, measure = launch_lines(path)
    assert check[:4] == ["tamis", "run", f"configs/recipes/{path.name}", "--dry-run"]
    assert read[:3] == ["tamis", "data", recipe.data.path]
    assert launch[:2] == ["accelerate", "launch"]
    assert (root / option(launch, "--config_file")).is_file()
    train = launch[launch.index("-m") + 1 :]
    assert train[:3] == ["tamis", "train", recipe.out]
    assert measure[:3] == ["tamis", "bench", recipe.out]
    for words in (check, read, train, measure):
        unknown = {word for word in words if word.startswith("--")} - set(commands[words[1]])
        assert not unknown
        assert "--recipe" not in words or option(words, "--recipe") == check[2]
    assert ("--recipe" in measure) == bool(recipe.bench)
    num_processes = "2"  # of configs/ddp.yaml, where the line names no other number
    if "--num_processes" in launch:
        num_processes = option(launch, "--num_processes")
    assert option(check, "--num-processes") == num_processes
