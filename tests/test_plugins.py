import sys

import numpy as np
import pytest

from tamis import plugins
from tamis.denoise.config import DenoiseConfig
from tamis.denoise.decision import Strength
from tamis.errors import ConfigError


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module of the user's that can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(name, text):
        (tmp_path / "my_plugins").mkdir(exist_ok=True)
        (tmp_path / "my_plugins" / f"{name}.py").write_text(text)
        made.append(f"my_plugins.{name}")
        return made[-1]

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "my_plugins"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("kind", "known"),
    [("denoise", "flip"), ("loss", "hinge"), ("term", "pcrm"), ("benchmark", "hhh")],
)
def test_an_unknown_name_lists_the_known(kind, known):
    with pytest.raises(ConfigError, match=rf"unknown {kind} 'flipp'; expected one of .*{known}"):
        plugins.load(kind, "flipp")


@pytest.mark.parametrize("kind", plugins.FAMILIES)
def test_every_member_that_is_listed_loads(kind):
    names = plugins.available(kind)
    assert names == sorted(names)
    assert names
    for name in names:
        assert callable(plugins.load(kind, name))


def test_helpers_of_a_family_are_no_members():
    assert not {"config", "decision", "orient", "report", "tables"} & set(
        plugins.available("denoise")
    )
    assert not {"reduce", "settings"} & set(plugins.available("loss"))
    assert not {"view", "similarity"} & set(plugins.available("term"))
    assert "pairs" in plugins.available("benchmark")
    with pytest.raises(ConfigError, match="unknown denoise 'tables'"):
        plugins.load("denoise", "tables")


def test_a_dotted_path_is_a_module_of_the_users(module):
    path = module(
        "trust",
        "import numpy as np\n"
        "from tamis.denoise.decision import Decision\n"
        "def decide(strength, *, config):\n"
        "    n = len(strength.mean_N)\n"
        "    trust = 1 / (1 + strength.std_N)\n"
        "    return Decision(np.ones(n), np.zeros(n), trust, np.ones(n, bool), 'trust')\n",
    )
    decision = plugins.load("denoise", path)(
        Strength(np.zeros(2), np.array([0.0, 1.0])), config=DenoiseConfig(policy=path)
    )
    assert decision.weight_N.tolist() == [1.0, 0.5]


def test_a_loss_of_the_users_is_the_function_named_like_its_module(module):
    path = module("hinge", "def hinge(gap_B):\n    return (1 - gap_B).clamp(min=0)\n")
    assert plugins.load("loss", path).__name__ == "hinge"


def test_a_module_without_the_entry_point_is_named(module):
    path = module("empty", "decide = 3\n")
    with pytest.raises(ConfigError, match=r"my_plugins\.empty lacks the function 'decide'"):
        plugins.load("denoise", path)
    with pytest.raises(ConfigError, match=r"my_plugins\.empty lacks the function 'empty'"):
        plugins.load("loss", path)


def test_what_else_a_module_offers_is_found_or_nothing(module):
    path = module("partly", "LIMIT = 3\ndef loss(view, *, settings):\n    return view\n")
    assert plugins.offered("term", path, "LIMIT") == 3
    assert plugins.offered("term", path, "columns") is None
    with pytest.raises(ConfigError, match="unknown term 'partly'"):
        plugins.offered("term", "partly", "LIMIT")


@pytest.mark.parametrize("name", ["no_such_package.flip", "my_plugins.nothing", ".flip", "flip."])
def test_a_path_that_leads_nowhere_is_named(module, name):
    module("there", "")
    with pytest.raises(ConfigError, match=r"denoise '.*': cannot import"):
        plugins.load("denoise", name)


def test_a_module_that_cannot_be_imported_says_why(module):
    path = module("broken", "import no_such_library\n")
    with pytest.raises(ConfigError, match="No module named 'no_such_library'"):
        plugins.load("denoise", path)


def test_a_module_that_fails_is_the_users_to_mend(module):
    path = module("fails", "{}['key']\n")
    with pytest.raises(ConfigError, match=r"cannot import my_plugins\.fails: KeyError: 'key'"):
        plugins.load("loss", path)
