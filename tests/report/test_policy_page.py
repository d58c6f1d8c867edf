"""The page of a run of iterated RLHF."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from pages import Page

from tamis.errors import DataError
from tamis.report import write_report
from tamis.report.policy_pictures import against_kl
from tamis.report.policy_records import Point
from tamis.report.policy_steps import read_steps
from tamis.types import Interval

ANCHORS = ["rounds", "reward-kl", "drift", "scores", "steps", "samples", "made"]


def interval(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half, "num_items": 10}


def make_point(place, **own):
    scores = {"edges": [-1.0, 0.0, 1.0, 2.0], "counts": [1, 2, 5], "start_counts": [4, 3, 1]}
    measured = {
        "perplexity": 5.0 + place,
        "finished_frac": 0.9,
        "distinct_1": 0.5,
        "distinct_2": 0.8 - 0.1 * place,
        "self_bleu": 0.2 + 0.1 * place,
        "repeated_frac": 0.05 * place,
    }
    if place:
        measured |= {
            "quality": interval(0.5 + 0.1 * place),
            "proxy_gain": interval(0.4 * place),
            "proxy_since_best": interval(0.4 if place > 1 else 0.4 * place),
            "gold_gain": interval(0.2 * place),
            "win_rate": interval(0.5 + 0.1 * place),
            "spread_ratio": 1.0 + 0.2 * place,
            "scores": scores,
        }
    name = f"round-{place - 1:02d}" if place else "start"
    point = {"name": name, "kl": interval(2.0 * place), "tokens": interval(20.0 + place)}
    return point | measured | own


def step_line(n):
    parts = {"reward": {"mean": n / 10, "std": 1.0}, "tokens": {"mean": 20.0, "std": 1.0}}
    return {"kind": "step", "step": n, "kl": n / 5, "spread": None, **parts}


def save_rounds(run: Path, *, num_rounds=2, text="", **own) -> Path:
    points = [make_point(place) for place in range(num_rounds + 1)]
    turns = [{"role": "assistant", "content": f"an answer {text}"}]
    prompt = [{"role": "user", "content": f"a question {text}"}]
    judged = {"win": 5, "tie": 3, "lose": 2, "first_frac": 0.6, "inconsistent_frac": 0.1}
    report = {
        "points": points,
        "best": {"place": num_rounds, "name": points[-1]["name"], "sentence": f"Kept. {text}"},
        "num_planned": 3,
        "is_over": True,
        "quality": f"gold {text}",
        "reasons": [{"rule": "kl", "sentence": f"The KL is high. {text}"}],
        "samples": [{"prompt": prompt, "start": turns, "best": turns}],
        "judge": [{"name": f"round 0 {text}", **judged}],
    }
    run.mkdir(parents=True, exist_ok=True)
    (run / "rounds.json").write_text(json.dumps(report | own))
    (run / "iterate.yaml").write_text("seed: 3\n")
    for number in range(num_rounds):
        rows = [step_line(n) for n in range(1, 6)]
        looked = {"gold": interval(0.4), "score": interval(0.3), "tokens": {"mean": 7.0}}
        rows.insert(3, {"kind": "held_out", "step": 3, **looked})
        path = run / f"round-{number:02d}" / "rl" / "watch.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return run


def page_of(run: Path) -> tuple[str, dict]:
    out = write_report(run, out=run / "report.html")
    return out.read_text("utf-8"), json.loads(out.with_suffix(".json").read_text("utf-8"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[str, dict]:
    return page_of(save_rounds(tmp_path_factory.mktemp("whole") / "run"))


def test_a_run_of_rounds_has_its_sections_in_order(whole):
    text, twin = whole
    assert list(twin["sections"]) == ANCHORS
    places = [text.index(f'<section id="{anchor}">') for anchor in ANCHORS]
    assert places == sorted(places)
    assert twin["sections"]["rounds"]["data"]["points"][1]["kl"]["value"] == 2.0


def test_the_page_says_what_was_kept_and_why_it_stopped(whole):
    text, twin = whole
    for words in ("Kept. ", "The KL is high.", "round 1 (kept)", "2 of 3", "seed: 3"):
        assert words in text
    assert twin["cards"][1]["value"] == "round 1"
    row = text[text.index("round 0 (") if "round 0 (" in text else text.index(">round 0<") :]
    assert "0.40 [0.35, 0.45]".replace(", ", ",\u00a0") in row


def test_the_page_is_sound_and_loads_nothing(whole):
    page = Page(whole[0])
    assert page.count("script") == page.count("link") == page.count("iframe") == 0
    assert all(link.startswith("#") for link in page.links())
    assert page.count("figure") == page.count("figcaption") == 4
    headings = page.headings()
    assert all(later - earlier <= 1 for earlier, later in pairwise(headings))
    pictures = [named for tag, named in page.tags if tag == "svg" and "aria-hidden" not in named]
    assert all(named.get("aria-label") for named in pictures)


def test_pictures_name_both_rewards_and_both_rounds(whole):
    text, _ = whole
    assert ">gold reward, held-out prompts<" in text
    for words in (">gold reward<", ">reward model (proxy)<", ">judge<", ">repeated four-grams<"):
        assert words in text
    steps = text[text.index('<section id="steps">') :]
    assert ">round 0<" in steps
    assert ">round 1<" in steps


def test_steps_and_looks_at_held_out_prompts_are_told_apart(whole):
    curves = whole[1]["sections"]["steps"]["data"]["curves"]
    expected = {"steps": [1.0, 2.0, 3.0, 4.0, 5.0], "values": [20.0] * 5}
    assert curves["tokens of a response"]["round 0"] == expected
    assert curves["gold reward, held-out prompts"]["round 1"] == {"steps": [3.0], "values": [0.4]}
    assert "raw score, mean" not in curves


def look(step, kl, *, score, gold):
    looked = {"score": interval(score), "gold": interval(gold), "kl": kl}
    return {"kind": "held_out", "step": step, **looked}


def scored_line(n, counts):
    score = {"mean": 0.0, "std": 1.0, "edges": [-1.0, 0.0, 1.0], "counts": counts}
    return step_line(n) | {"score": score}


def test_rl_is_drawn_against_kl_and_by_scores(tmp_path):
    rows = [look(0, 0.0, score=0.1, gold=0.5), *(scored_line(n, [4, 0]) for n in range(1, 11))]
    rows += [look(10, 3.5, score=0.9, gold=0.2), *(scored_line(n, [1, 3]) for n in range(11, 21))]
    path = tmp_path / "run" / "rl" / "watch.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    text, twin = page_of(tmp_path / "run")
    assert list(twin["sections"]) == ["rl-kl", "steps", "rl-scores"]
    against = twin["sections"]["rl-kl"]["data"]["RL"]
    assert against == {"score": [[0.0, 0.1], [3.5, 0.9]], "gold": [[0.0, 0.5], [3.5, 0.2]]}
    assert "At step 10 of RL, 3.50 nats from the start" in text
    assert "gold reward is 0.20" in text
    scores = twin["sections"]["rl-scores"]["data"]["RL"]
    assert scores == {"edges": [-1.0, 0.0, 1.0], "first": [8, 0], "last": [2, 6]}
    assert ">last tenth of the steps<" in text
    # where the divergence is not measured there is nothing to draw it against
    path.write_text("".join(f"{json.dumps(row | {'kl': None})}\n" for row in rows))
    assert list(page_of(tmp_path / "run")[1]["sections"]) == ["steps", "rl-scores"]


def test_the_start_has_no_gain_by_definition():
    zero = Interval(0.0, 0.0, 0.0)
    start = Point("start", zero, zero)
    after = Point("round-00", Interval(2.0, 1.0, 3.0), zero, proxy_gain=Interval(1.0, 0.5, 1.5))
    found = against_kl([start, after], alt="a")
    assert found == against_kl([replace(start, proxy_gain=zero), after], alt="a")
    assert found != against_kl([replace(start, kl=after.kl), after], alt="a")
    assert against_kl([start, replace(after, proxy_gain=None)], alt="a") is None


def test_user_text_stays_text(tmp_path, whole):
    attack = '</style></svg><script>alert(1)</script>"><img src=x onerror=alert(1)>'
    text, _ = page_of(save_rounds(tmp_path / "run", text=attack))
    for tag in ("script", "img", "style", "svg"):
        assert Page(text).count(tag) == Page(whole[0]).count(tag)


def test_two_equal_runs_have_equal_pages(tmp_path, whole):
    text, twin = page_of(save_rounds(tmp_path / "another"))
    assert (text, twin) == whole


def test_a_run_in_progress_has_a_page(tmp_path):
    start = {
        "num_rounds": 0,
        "is_over": False,
        "reasons": [],
        "samples": [],
        "judge": [],
        "quality": "",
    }
    text, twin = page_of(save_rounds(tmp_path / "run", **start))
    assert list(twin["sections"]) == ["rounds", "made"]
    assert "The run is in progress: 0 of 3 rounds done." in text
    assert "nothing here says whether the policy became better" in " ".join(text.split())


def test_what_was_not_measured_is_left_out(tmp_path):
    nothing = dict.fromkeys(("quality", "proxy_gain", "gold_gain", "win_rate", "scores"))
    nothing |= dict.fromkeys(("perplexity", "distinct_1", "distinct_2", "self_bleu"))
    nothing |= dict.fromkeys(("repeated_frac", "finished_frac", "spread_ratio"))
    points = [make_point(place, **nothing) for place in range(3)]
    text, twin = page_of(save_rounds(tmp_path / "run", points=points))
    assert "scores" not in twin["sections"]
    assert "reward-kl" not in twin["sections"]
    assert "Self-BLEU</th>" not in text
    Page(text)


def test_rl_alone_has_its_steps(tmp_path):
    run = tmp_path / "run"
    # of a run in progress, then of one that is over
    for folder, num_steps, words in (
        (run / "rl" / "work", 1, "1 step of RL."),
        (run / "rl", 2, "2 steps of RL;"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(step_line(n)) for n in range(1, num_steps + 1)]
        (folder / "watch.jsonl").write_text("\n".join(lines) + "\n")
        text, twin = page_of(run)
        assert list(twin["sections"]) == ["steps"]
        assert words in text
    assert "from 0.10 to 0.20" in text
    assert "spread of the reward models" not in text


def test_a_half_written_last_line_is_left_out_and_another_is_an_error(tmp_path):
    path = tmp_path / "watch.jsonl"
    path.write_text('{"step": 1, "reward": 0.5}\n{"step": 2, "rew')
    assert read_steps(path) == [{"step": 1, "reward": 0.5}]
    path.write_text('{"step": 1, "rew\n{"step": 2}\n')
    with pytest.raises(DataError, match="line 1: expected JSON"):
        read_steps(path)
    path.write_text('{"reward": 1}\n{"step": 2}\n')
    with pytest.raises(DataError, match="line 1: expected an object with a step"):
        read_steps(path)


def test_a_damaged_file_is_named(tmp_path):
    run = save_rounds(tmp_path / "run", num_planned="many")
    with pytest.raises(DataError, match=r"rounds\.json: num_planned"):
        write_report(run, out=run / "report.html")


def test_the_gain_since_the_best_has_a_column_where_that_is_not_the_start(tmp_path):
    def page(num_rounds):
        run = save_rounds(tmp_path / str(num_rounds), num_rounds=num_rounds)
        return write_report(run, out=run / "report.html").read_text()

    assert "since the best" not in page(1)
    assert "since the best" in page(2)
