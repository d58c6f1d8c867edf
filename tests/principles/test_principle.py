import json

import pytest
import yaml

from tamis.errors import ConfigError, DataError
from tamis.principles import Principle, Stance, load_principles, stance_of
from tamis.principles.principle import choose_principles, take_stance
from tamis.principles.sample import INTERVENTIONS

BRIEF = {"name": "brief", "wanted": "Be brief.", "negated": "Be long."}


@pytest.fixture
def write(tmp_path):
    """Writes entries to principles.yaml and returns its path."""

    def write(*entries):
        path = tmp_path / "principles.yaml"
        path.write_text(yaml.safe_dump(list(entries)), encoding="utf-8")
        return path

    return write


def test_shipped_principles_are_complete():
    principles = load_principles()
    names = {principle.name for principle in principles}
    assert len(names) >= 8
    assert {"concise", "detailed", "honest", "harmless", "helpful", "on_topic"} <= names
    assert set(INTERVENTIONS) <= names
    texts = [text for p in principles for text in (*p.wanted, *p.negated)]
    assert len(texts) == len(set(texts))
    assert all(text[0].isupper() and text.endswith(".") for text in texts)


def test_yaml_and_json_lines_say_the_same(write, tmp_path):
    entry = {**BRIEF, "negated": ["Be long.", "Go  on\nand on."], "weight": 2}
    entry["prompt_types"] = {"reasoning": 128}
    lines = tmp_path / "principles.jsonl"
    lines.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    (found,) = load_principles(write(entry))
    # a line break inside a principle would look like another one
    assert found == Principle(
        "brief", ("Be brief.",), ("Be long.", "Go on and on."), 2.0, {"reasoning": 128.0}
    )
    assert load_principles(lines) == [found]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Be Brief"}, r"entry 0 .*name is 'Be Brief'; expected small letters"),
        ({"name": None}, "name is None"),
        ({"wanted": ""}, "brief: wanted is ''; expected a text"),
        ({"wanted": []}, r"wanted is \[\]"),
        ({"wanted": ["Be brief.", 3]}, "expected a text, or a list of texts"),
        ({"negated": "Be brief."}, "'Be brief.' is both wanted and negated"),
        ({"negated": ["Be long.", "Be  long."]}, "negated has a wording twice"),
        ({"weight": -1}, "weight is -1; expected a number of at least 0"),
        ({"weight": True}, "weight is True"),
        ({"prompt_types": {"code": "much"}}, "prompt_types.code is 'much'"),
        ({"prompt_types": [1]}, r"prompt_types is \[1\]; expected type: weight"),
        ({"negatd": "x"}, "unknown key 'negatd'; expected name, wanted"),
    ],
)
def test_a_wrong_entry_is_named(write, change, said):
    with pytest.raises(DataError, match=said):
        load_principles(write({**BRIEF, **change}))


def test_a_wrong_file_is_named(write, tmp_path):
    with pytest.raises(DataError, match="negated is None"):
        load_principles(write({"name": "brief", "wanted": "Be brief."}))
    with pytest.raises(DataError, match=r"entry 1 .*'brief' is there twice"):
        load_principles(write(BRIEF, BRIEF))
    with pytest.raises(DataError, match="not a single principle"):
        load_principles(write())
    with pytest.raises(DataError, match="expected a mapping"):
        load_principles(write("brief"))
    path = tmp_path / "other.yaml"
    with pytest.raises(DataError, match="no such file"):
        load_principles(path)
    path.write_text("name: brief")
    with pytest.raises(DataError, match="expected a list of principles"):
        load_principles(path)
    path.write_text("- [")
    with pytest.raises(DataError, match="expected YAML"):
        load_principles(path)


def test_what_a_caller_asks_for():
    principles = load_principles()
    concise = principles[0]
    assert stance_of("concise", principles) == Stance("concise", concise.wanted[0])
    opposite = stance_of(" not:concise ", principles)
    assert opposite == Stance("concise", concise.negated[0], negated=True)
    assert (opposite.label, stance_of("concise", principles).label) == ("not:concise", "concise")
    assert stance_of("Answer in verse, please.", principles).text == "Answer in verse, please."
    with pytest.raises(ConfigError, match="unknown principle 'concice'; did you mean 'concise'"):
        stance_of("concice", principles)
    with pytest.raises(ConfigError, match="expected one of concise, "):
        stance_of("", principles)
    with pytest.raises(ConfigError, match="write the opposite in words"):
        stance_of("not:Answer in verse.", principles)


def test_principles_are_chosen_by_name():
    principles = load_principles()
    chosen = choose_principles(principles, ["honest", "concise"])
    assert [principle.name for principle in chosen] == ["honest", "concise"]
    assert choose_principles(principles, []) == principles
    with pytest.raises(ConfigError, match="unknown principle 'honst'; did you mean 'honest'"):
        choose_principles(principles, ["honst"])
    with pytest.raises(ConfigError, match="'honest' is named twice"):
        choose_principles(principles, ["honest", "honest"])


def test_a_wording_is_chosen_by_a_number():
    principle = Principle("brief", ("a", "b", "c", "d"), ("z",))
    texts = [take_stance(principle, wording=w).text for w in (0.0, 0.3, 0.5, 0.999)]
    assert texts == ["a", "b", "c", "d"]
    assert take_stance(principle, negated=True, wording=0.999).text == "z"
