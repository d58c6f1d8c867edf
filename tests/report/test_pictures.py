import re
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tamis.report.charts import HistogramStyle, Layer, bin_edges, counts_in, histogram
from tamis.report.exhibits import OPENING_CHARS, passage
from tamis.report.forest import ForestStyle, Panel, Row, forest
from tamis.report.numbers import number, rank_groups, wilson, without_paths
from tamis.report.pictures import PALETTE, svg
from tamis.types import Interval

STYLE = ForestStyle(name="x", alt='a "b" <c>', xlabel="accuracy", estimate="estimate")


def rows(*labels):
    return [Panel("", tuple(Row(label, Interval(0.7, 0.6, 0.8)) for label in labels))]


def test_picture_is_one_light_element_that_follows_the_page():
    text = str(forest(rows("one"), style=STYLE))
    assert text.startswith("<svg ")
    assert text.endswith("</svg>")
    assert "<style" not in text
    assert "font-family" not in text
    assert "var(--right, #2b6c99)" in text
    assert 'aria-label="a &#34;b&#34; &lt;c&gt;"' in text
    assert not re.search(r'<g id=|width="\d+(\.\d+)?pt"', text)
    bare = re.findall(r"(?<!, )#[0-9a-f]{6}(?![0-9a-f])", text)
    assert set(bare) <= {"#ffffff", "#000000"}


def test_pictures_are_the_same_every_time_whatever_the_users_settings():
    first = forest(rows("one"), style=STYLE)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert forest(rows("one"), style=STYLE) == first


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    forest(rows("one"), style=STYLE)
    assert dict(matplotlib.rcParams) == before


def test_labels_are_escaped_and_never_read_as_mathematics():
    text = str(forest(rows("<script>x</script>", "$\\frac{$", "漢字"), style=STYLE))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "$\\frac{$" in text
    assert "漢字" in text


def test_ids_of_two_pictures_differ():
    def paint(figure):
        figure.add_subplot().plot([0, 1], [0, 1], "o")

    one, two = (
        set(re.findall(r'id="([^"]+)"', svg(paint, name=name, alt="", height_in=2)))
        for name in ("a", "b")
    )
    assert one
    assert not one & two


def test_every_colour_of_the_pictures_is_in_the_palette():
    from importlib.resources import files

    style = files("tamis").joinpath("palette.css").read_text("utf-8")
    light, dark = style.split("prefers-color-scheme: dark")[:2]
    for colour, name in PALETTE.items():
        assert f"{name}: {colour}" in light
        assert f"{name}: #" in dark


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_histograms_count_every_value_and_split_at_zero(values):
    values_N = np.array(values)
    edges = bin_edges(values_N)
    assert 0.0 in edges
    assert np.all(np.diff(edges) > 0)
    assert counts_in(values_N, edges=edges).sum() == len(values)


def test_a_histogram_of_equal_values_can_be_drawn():
    style = HistogramStyle(name="x", alt="", xlabel="")
    assert "<svg" in histogram([Layer("pairs", np.zeros(3))], style=style)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 40), (7, 40), (40, 40)])
def test_wilson_matches_scipy(k, n):
    expected = binomtest(k, n).proportion_ci(method="wilson")
    found = wilson(k, num_items=n)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.low <= found.value <= found.high


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60), st.integers(1, 25))
def test_rank_groups_are_equal_ordered_and_complete(values, num_groups):
    values_N = np.array(values)
    groups = rank_groups(values_N, num_groups=num_groups)
    sizes = [len(group) for group in groups]
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(values)))
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1
    for lower, upper in pairwise(groups):
        assert values_N[lower].max() <= values_N[upper].min()


@settings(max_examples=50)
@given(st.text(max_size=600))
def test_an_opening_is_short_and_begins_the_text(text):
    found = passage("user", text)
    assert found.text == text
    assert text.startswith(found.opening)
    assert len(found.opening) <= OPENING_CHARS


def test_numbers_have_a_true_minus_and_no_negative_zero():
    assert number(-0.001) == "0.00"
    assert number(-1234.5) == "−1,234.50"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/me/x.jsonl", "…/x.jsonl"),
        ("C:\\data\\x.jsonl", "…/x.jsonl"),
        ("file:///srv/x", "…/x"),
        ("org/name", "org/name"),
        ("package:mini/model", "package:mini/model"),
        ("x.jsonl", "x.jsonl"),
    ],
)
def test_absolute_paths_are_cut(value, expected):
    assert without_paths({"a": [value]}) == {"a": [expected]}
