"""The stage of principles: it stands in the place of the data stage."""

import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pyarrow.parquet as pq
import pytest

from tamis.data import DataConfig, read_dropped, read_pairs
from tamis.errors import ConfigError, DataError
from tamis.evaluate.config import BenchmarkConfig
from tamis.models.config import ModelConfig
from tamis.principles import PrinciplesConfig
from tamis.principles.layout import is_conditioned
from tamis.recipes.conditioning import asked_texts, principles_stage
from tamis.recipes.pipeline import check_late_stages, run_stages
from tamis.recipes.scoring import Scoring
from tamis.recipes.stages import bench_stage, data_stage, train_stage
from tamis.runs import read_json
from tamis.train.config import TrainConfig

LENGTH = PrinciplesConfig(judge="length", most=1)


@pytest.fixture
def source(tmp_path, preferences):
    """The pairs of a data stage."""
    run = tmp_path / "source"
    data_stage(run, config=DataConfig(path=str(preferences), test_frac=0.3))
    return run / "data" / "pairs.parquet"


@pytest.fixture
def stage(tmp_path, source):
    """Runs the stage of principles into ``out``."""

    def stage(config=LENGTH, *, seed=0, model=None, said=None, pairs=source):
        notice = (lambda _: None) if said is None else said.append
        return principles_stage(
            tmp_path / "out", pairs=pairs, config=config, model=model, seed=seed, notice=notice
        )

    return stage


def test_it_writes_what_the_data_stage_writes(stage, tmp_path, source):
    result = stage()
    folder = tmp_path / "out" / "data"
    assert (result.fresh, result.directory) == (True, folder)
    pairs, known = read_pairs(folder / "pairs.parquet"), read_pairs(source)
    assert all(is_conditioned(pair) for pair in pairs)
    assert {pair.group for pair in pairs} == {pair.group for pair in known}
    test = read_pairs(folder / "test_pairs.parquet")
    assert test == [pair for pair in pairs if pair.split == "test"]
    labels = pq.read_table(folder / "labels.parquet")
    assert labels["id"].to_pylist() == [pair.id for pair in pairs]
    assert set(labels["pair"].to_pylist()) == {pair.id for pair in known}
    report = read_json(folder / "report.json")
    dropped = read_dropped(folder / "dropped.parquet")
    assert report["num_pairs"] + report["num_dropped"] == 4 * len(known)
    assert report["num_dropped"] == len(dropped)
    assert report["num_rows"] == report["principles"]["num_source_pairs"] == len(known)
    assert (report["has_gold"], report["convention"]) == (False, "principles")


def test_it_runs_again_where_something_changed(stage, tmp_path):
    assert stage().fresh
    assert not stage().fresh
    before = (tmp_path / "out/data/pairs.parquet").read_bytes()
    assert stage(seed=1).fresh
    assert (tmp_path / "out/data/pairs.parquet").read_bytes() != before
    assert stage().fresh
    assert (tmp_path / "out/data/pairs.parquet").read_bytes() == before
    assert stage(LENGTH.model_copy(update={"passes": 2})).fresh


def test_other_words_are_other_examples_and_another_path_is_not(stage, tmp_path):
    entry = {"name": "concise", "wanted": "Be brief.", "negated": "Be long."}
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(json.dumps(entry))
    (tmp_path / "c.jsonl").write_text(json.dumps({**entry, "wanted": "Few words."}))
    fresh = [
        stage(LENGTH.model_copy(update={"file": str(tmp_path / name)})).fresh
        for name in ("a.jsonl", "b.jsonl", "c.jsonl")
    ]
    assert fresh == [True, False, True]


def test_scores_of_a_file_are_an_input(stage, tmp_path, source):
    path = tmp_path / "scores.jsonl"
    config = PrinciplesConfig(judge="scores", scores=str(path), names=("honest",))

    def write(pairs, margin):
        rows = [{"id": pair.id, "principle": "honest", "margin": margin} for pair in pairs]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    known = read_pairs(source)
    write(known[:10], 1.0)
    assert stage(config).fresh
    kinds = [drop.kind for drop in read_dropped(tmp_path / "out/data/dropped.parquet")]
    assert kinds.count("no_score") == len(known) - 10
    assert not stage(config).fresh
    write(known[:10], -1.0)
    assert stage(config).fresh
    write(known[:10], 0.0)
    with pytest.raises(DataError, match=r"no example is left; dropped: no_score \d+, undecided 40"):
        stage(config)


def test_examples_that_the_model_cannot_hold_are_dropped_and_counted(stage, llama, tmp_path):
    stage(model=llama)
    full = read_json(tmp_path / "out/data/report.json")
    assert full["length_check"] == "done"
    assert "over_length" not in full["dropped"]
    short = ModelConfig(path=llama.path, max_length=64)
    with pytest.raises(DataError, match=r"no example is left; dropped: .*over_length"):
        stage(model=short)


def test_what_it_would_overwrite_is_refused(tmp_path, source):
    with pytest.raises(ConfigError, match="stands where its examples would be written"):
        principles_stage(source.parents[1], pairs=source, config=LENGTH, notice=print)
    assert read_pairs(source)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"judge": None}, "no judge: give --judge"),
        ({"judge": "lenght"}, "unknown judge 'lenght'"),
        ({"names": ("concice",)}, "did you mean 'concise'"),
        ({"names": ("honest",)}, "the judge length knows the principles concise and detailed"),
        ({"judge": "scores", "scores": "none.jsonl"}, r"principles\.scores is none\.jsonl"),
    ],
)
def test_what_cannot_be_done_is_said(stage, tmp_path, settings, said):
    with pytest.raises(ConfigError, match=said):
        stage(LENGTH.model_copy(update=settings))
    assert not (tmp_path / "out/data/pairs.parquet").exists()


def test_examples_are_no_source_of_examples(stage, tmp_path):
    stage()
    made = tmp_path / "out" / "data" / "pairs.parquet"
    with pytest.raises(DataError, match="carries principles already"):
        principles_stage(tmp_path / "again", pairs=made, config=LENGTH, notice=print)


def test_training_and_bench_read_it_unchanged(stage, tmp_path, llama):
    stage(model=llama)
    run = tmp_path / "out"
    train = TrainConfig(max_steps=2, batch_size=8, learning_rate=1e-3, sampler="group")
    train_stage(
        run, pairs=run / "data/pairs.parquet", verdicts=None, model=llama, config=train, seed=0
    )
    held_out = run / "data" / "test_pairs.parquet"
    source = tmp_path / "source" / "data" / "test_pairs.parquet"

    def bench(path, **asked):
        benchmarks = [BenchmarkConfig(name="pairs", path=str(path))]
        scoring = Scoring([str(run / "train/checkpoint")], **asked)
        out = bench_stage(run, scoring=scoring, benchmarks=benchmarks, seed=0)
        scores = pq.read_table(out.directory / "items.parquet")["score_chosen"].to_pylist()
        return out.fresh, scores, read_json(out.directory / "report.json")

    _, scores, report = bench(held_out)
    assert "principles" not in report
    assert scores
    texts = asked_texts(["concise"])
    _, brief, report = bench(source, principles=texts)
    assert report["principles"] == list(texts)
    assert not bench(source, principles=texts)[0]
    fresh, long, _ = bench(source, principles=asked_texts(["not:concise"]))
    assert fresh
    assert brief != long
    with pytest.raises(DataError, match="carries principles already"):
        bench(held_out, principles=texts)
    assert bench(held_out, principles=texts, keeps_own=True)[1] == scores
    assert bench(source, principles=texts, keeps_own=True)[1] == brief


def test_the_benchmarks_of_a_recipe_are_judged_under_its_principles(
    make_recipe, tmp_path, source, llama, log
):
    run, other = tmp_path / "run", tmp_path / "other.parquet"
    other.symlink_to(source.with_name("test_pairs.parquet"))
    asked = LENGTH.model_copy(update={"bench": ("not:concise",)})
    bench = (BenchmarkConfig(name="pairs", path=str(other)),)
    changes = {"model": llama, "principles": asked, "bench": bench, "baseline": False}
    recipe = make_recipe(run).model_copy(update=changes)
    run_stages(recipe, watcher=log.watcher())
    assert not any("learned to read principles" in line for line in log.said)
    words = asked_texts(["not:concise"])
    assert read_json(run / "bench" / "report.json")["principles"] == list(words)
    alone = Scoring([str(run / "train" / "checkpoint")])
    for path, scoring in (
        (run / "data" / "test_pairs.parquet", alone),
        (other, replace(alone, principles=words)),
    ):
        config = (BenchmarkConfig(name="pairs", path=str(path)),)
        bench_stage(tmp_path / path.stem, scoring=scoring, benchmarks=config, seed=0)
        expected = _scores(tmp_path / path.stem, benchmark="pairs")
        assert _scores(run, benchmark=f"pairs ({path.name})") == expected


def _scores(run, *, benchmark):
    items = pq.read_table(run / "bench" / "items.parquet").to_pylist()
    return [row["score_chosen"] for row in items if row["benchmark"] == benchmark]


def test_unknown_principles_of_benchmarks_are_refused_before_anything_runs(make_recipe, tmp_path):
    wrong = LENGTH.model_copy(update={"bench": ("not:concice",)})
    recipe = make_recipe(tmp_path / "run").model_copy(update={"principles": wrong})
    with pytest.raises(ConfigError, match="did you mean 'concise'"):
        check_late_stages(recipe)
    with pytest.raises(ValueError, match="bench names principles and there is no judge"):
        PrinciplesConfig(bench=("concise",))


def test_a_recipe_puts_principles_between_data_and_vote(make_recipe, tmp_path, log):
    recipe = make_recipe(tmp_path / "run").model_copy(update={"principles": LENGTH})
    wrong = LENGTH.model_copy(update={"names": ("concice",)})
    with pytest.raises(ConfigError, match="did you mean 'concise'"):
        check_late_stages(recipe.model_copy(update={"principles": wrong}))
    # the tiny encoder reads too few tokens for an answer with its principles
    with pytest.raises(DataError, match="over_length"):
        run_stages(recipe, watcher=log.watcher())
    assert log.begun == ["data", "principles"]
    assert read_pairs(tmp_path / "run/source/data/pairs.parquet")


class _Judge(BaseHTTPRequestHandler):
    """Prefers the answer that comes later in the alphabet; fails where its server says so."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.num_asked += 1
        fails = self.server.num_asked == self.server.fails_at
        text = json.loads(body)["messages"][1]["content"]
        first, second = text.split("[Answer A]")[1].split("[Principle]")[0].split("[Answer B]")
        letter = "A" if first.strip() > second.strip() else "B"
        answer = {"choices": [{"message": {"content": letter}}]}
        content = json.dumps(answer).encode()
        self.send_response(401 if fails else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def chat():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Judge)
    server.num_asked, server.fails_at = 0, None
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stage_that_failed_goes_on_where_it_stopped(stage, chat, tmp_path):
    endpoint = {"url": f"http://127.0.0.1:{chat.server_port}/v1", "model": "m", "workers": 1}
    settings = {"judge": "endpoint", "endpoint": endpoint, "names": ["honest"], "negate_prob": 0}
    config = PrinciplesConfig.model_validate(settings)
    chat.fails_at = 31
    with pytest.raises(ConfigError, match="refuses with state 401"):
        stage(config)
    assert not (tmp_path / "out/data/pairs.parquet").exists()
    said = []
    assert stage(config, said=said).fresh
    assert chat.num_asked == 31 + 120 - 30
    assert said[0].startswith("judge m: 120 questions, 90 asked now, 30 from the cache")
    # another draw asks the same questions, and a lost connection costs nothing
    assert stage(config, seed=1).fresh
    assert chat.num_asked == 121
    patient = {**settings, "endpoint": {**endpoint, "retries": 9, "timeout_s": 5.0}}
    assert not stage(PrinciplesConfig.model_validate(patient), seed=1).fresh
