import pytest
from markupsafe import Markup

from tamis.errors import ConfigError, DataError
from tamis.report.blocks import Bullets, Fold, Picture, Section, Table, Text
from tamis.report.lines import Line, LinePanel, LineStyle, line_panels
from tamis.studies.present import as_markdown, fill_page, terminal_tables, write_page
from tamis.types import Interval

SVG = Markup('<svg viewBox="0 0 1 1"><path style="fill: var(--right, #2b6c99)"/></svg>')


@pytest.fixture
def sections():
    table = Table("A table:", ("what", "how much"), (("a | b", "1.0 [0.9, 1.1]"),))
    return [
        Section(
            "First",
            "first",
            (
                Text("A paragraph."),
                Picture(SVG, caption="What [1, 2] is seen.", reading="How to read it."),
                Bullets(("one", "two")),
                table,
                Fold("More", (Text("Folded."),)),
            ),
            {},
            lead="In short.",
        )
    ]


def test_sections_become_markdown(sections):
    written = as_markdown(sections, place="study", images="images")
    assert written.text == (
        "### First\n\nIn short.\n\nA paragraph.\n\n"
        "![What (1, 2) is seen.](images/study-1.svg)\n\nHow to read it.\n\n- one\n- two\n\n"
        "A table:\n\n| what | how much |\n| --- | ---: |\n| a \\| b | 1.0 [0.9, 1.1] |\n\n"
        "More:\n\nFolded.\n"
    )
    (picture,) = written.pictures.values()
    assert "var(" not in picture
    assert "fill: #2b6c99" in picture
    assert "sans-serif" in picture.split(">")[0]


def test_a_place_is_filled_again_and_again(sections, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin: study -->\nold\n<!-- end: study -->\nafter\n")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "study-9.svg").write_text("old")
    (tmp_path / "images" / "other-1.svg").write_text("other")
    written = as_markdown(sections, place="study", images="images")
    fill_page(page, place="study", written=written)
    first = page.read_text()
    assert first.startswith("before\n<!-- begin: study -->\n\n### First")
    assert first.endswith("Folded.\n\n<!-- end: study -->\nafter\n")
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == ["other-1.svg", "study-1.svg"]
    fill_page(page, place="study", written=written)
    assert page.read_text() == first


def test_a_page_without_the_place_is_left_alone(sections, tmp_path):
    written = as_markdown(sections, place="study", images="images")
    page = tmp_path / "page.md"
    with pytest.raises(ConfigError, match="no such page"):
        fill_page(page, place="study", written=written)
    page.write_text("<!-- begin: study -->\n")
    with pytest.raises(DataError, match="end: study"):
        fill_page(page, place="study", written=written)
    assert page.read_text() == "<!-- begin: study -->\n"
    assert not (tmp_path / "images").exists()


def test_the_page_and_the_terminal_show_the_table(sections, tmp_path):
    assert terminal_tables(sections) == [
        ("A table:", ["what", "how much"], [["a | b", "1.0 [0.9, 1.1]"]])
    ]
    write_page(tmp_path / "report.html", sections)
    html = (tmp_path / "report.html").read_text()
    assert "A table" in html
    assert "A paragraph." in html
    assert "<h1>Tamis study</h1>" in html
    assert "vote" not in html


def test_curves_name_each_line_once_and_show_the_level():
    values = (Interval(0.4, 0.3, 0.5), Interval(0.6, 0.5, 0.7))
    lines = (Line("one", (1.0, 2.0), values), Line("two", (1.0, 2.0), values, bars=False))
    panels = [LinePanel(title, lines) for title in ("A", "B")]
    style = LineStyle(
        "curves", "What is to be seen.", "tenth", x_axis="number", level=(0.5, "chance")
    )
    drawn = str(line_panels(panels, style=style))
    for words in (">one<", ">two<", ">chance<", ">A<", ">B<", ">tenth<"):
        assert drawn.count(words) == 1, words
    assert drawn == str(line_panels(panels, style=style))  # the same bytes for the same numbers
