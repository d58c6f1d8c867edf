"""Tables of a run directory, in the terminal."""

import pytest

from tamis.cli.summary import run_tables
from tamis.runs import fingerprint, write_json


@pytest.mark.parametrize("is_published", [True, False])
def test_a_comparison_killed_while_it_was_published_is_left_out(is_published, tmp_path):
    write_json(tmp_path / "bench" / "report.json", {"benchmarks": []})
    items = tmp_path / "bench" / "items.parquet"
    items.write_bytes(b"items")
    write_json(tmp_path / "compare" / "report.json", {"benchmarks": [{"name": "pairs"}]})
    record = {"key": "", "outputs": {}}
    if is_published:
        record = {"key": "k", "inputs": {"items": fingerprint(items)}}
    write_json(tmp_path / "compare" / "stage.json", record)
    ((_, header, _),) = run_tables(tmp_path)
    assert ("on raw labels, %" in header) == is_published
