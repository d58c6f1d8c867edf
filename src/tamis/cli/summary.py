"""Tables for the terminal from the reports of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tamis.cli.screen import decimal, percent, points
from tamis.runs import fingerprint, read_json

Table = tuple[str, list[str], list[list[str]]]
Tables = list[Table]


def run_tables(run: Path) -> Tables:
    """Return the summary of the stages that a run directory holds."""
    rows = []
    described = (("data", _data), ("vote", _vote), ("denoise", _denoise), ("train", _train))
    for stage, describe in described:
        path = run / stage / "report.json"
        if path.is_file():
            rows += describe(read_json(path))
    tables: Tables = [("Run", ["what", "value"], rows)] if rows else []
    return tables + _merge_tables(run) + _bench_tables(run)


def taken_for_granted(report: dict[str, Any]) -> list[str]:
    """Return what P(label wrong) of a denoising rests on, where no label was trusted."""
    wrong = report.get("wrong")
    if wrong is None or wrong["num_trusted"]:
        return []
    found = [f"P(label wrong) takes for granted that {wrong['assumption']}."]
    if wrong.get("warning"):
        found.append(f"Beware: {wrong['warning']}.")
    return found


def study_tables(study: dict[str, Any]) -> Tables:
    """Return the tables of the demo's study: for each noise, detection and accuracy."""
    tables: Tables = []
    for noise in dict.fromkeys(row["noise"] for row in study["arms"]):
        tables.append(_detection_table(study, noise))
        tables.append(_accuracy_table(study, noise))
    return tables


def _detection_table(study: dict[str, Any], noise: str) -> Table:
    found = [row for row in study["detection"] if row["arm"] == noise]
    rows = [
        [row["name"], decimal(row["auroc"]), decimal(row["average_precision"])] for row in found
    ]
    rows.append(["chance", "0.500", f"{found[0]['chance_average_precision']:.3f}"])
    return f"{noise.upper()}: finding the wrong labels", ["score", "AUROC", "avg. precision"], rows


def _accuracy_table(study: dict[str, Any], noise: str) -> Table:
    gains = {
        row["contrast"].removesuffix(" - raw"): points(row["difference"])
        for row in study["differences"]
        if row["noise"] == noise
    }
    rows = []
    for row in study["arms"]:
        if row["noise"] == noise:
            name = row["labels"] + (" (denoised)" if row["labels"] == study["denoised"] else "")
            wrong = f"{100 * row['wrong_frac']:.1f}"
            rows.append([name, wrong, percent(row["accuracy"]), gains.get(row["labels"], "–")])
    rows += [[b["name"], "–", percent(b["accuracy"]), "–"] for b in study["baselines"]]
    title = (
        f"{noise.upper()}: accuracy on unseen debates against gold "
        f"({study['num_seeds']} seeds, 95% intervals over arguments)"
    )
    return title, ["labels", "wrong, %", "accuracy, %", "minus raw"], rows


def _data(report: dict[str, Any]) -> list[list[str]]:
    dropped = ", ".join(f"{kind} {count:,}" for kind, count in report["dropped"].items())
    splits = ", ".join(f"{name or 'train'} {count:,}" for name, count in report["splits"].items())
    return [
        ["pairs", f"{report['num_pairs']:,} ({splits})"],
        ["dropped", f"{report['num_dropped']:,}" + (f" ({dropped})" if dropped else "")],
    ]


def _vote(report: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name in ("in_sample", "cross_fitted", "out_of_bag"):
        found = report[name]
        if found is not None:
            negative = f"{100 * found['negative_mean_frac']:.1f}%"
            rows.append([f"vote against the label, {name.replace('_', '-')}", negative])
    return rows


def _denoise(report: dict[str, Any]) -> list[list[str]]:
    share = f"{report['num_changed']:,} pairs ({100 * report['changed_frac']:.1f}%)"
    rows = [[f"policy {report['policy']!r} acted on", share]]
    gold = report["against_gold"]
    if gold is not None:
        before, after = 100 * gold["wrong_before_frac"], 100 * gold["wrong_after_frac"]
        rows.append(["wrong labels before → after", f"{before:.1f}% → {after:.1f}%"])
    wrong = report.get("wrong")
    if wrong is not None:
        basis = f"from {wrong['num_trusted']:,}" if wrong["num_trusted"] else "without"
        share = f"{100 * wrong['expected_wrong_frac']:.1f}%, {basis} trusted labels"
        rows.append(["labels estimated to be wrong", share])
    return rows


def _train(report: dict[str, Any]) -> list[list[str]]:
    return [["batches", report["rows"]["why"]]]


def _merge_tables(run: Path) -> Tables:
    path = run / "merge" / "report.json"
    if not path.is_file():
        return []
    report = read_json(path)
    found = report["accuracy"]
    if found is None:
        used = sum(weight > 0 for weight in report["weights"])
        return [("Merge", ["what", "value"], [["models averaged", f"{used}"]])]
    rows = [
        [f"member {number} ({name})", f"{weight:g}", percent(interval)]
        for number, (name, weight, interval) in enumerate(
            zip(report["names"], report["weights"], found["members"], strict=True)
        )
    ]
    rule = max(("longest", "shortest"), key=lambda name: found[name]["value"])
    rows += [
        ["mean of their scores", "–", percent(found["ensemble"])],
        ["merged model", "–", percent(found["merge"])],
        [f"length rule, {rule}", "–", percent(found[rule])],
    ]
    title = f"Merge, on {found['num_pairs']:,} pairs"
    tables: Tables = [(title, ["model", "weight", "accuracy, %"], rows)]
    if report["warnings"]:
        tables.append(("Warnings", ["of the merge"], [[text] for text in report["warnings"]]))
    return tables


def _bench_tables(run: Path) -> Tables:
    path = run / "bench" / "report.json"
    if not path.is_file():
        return []
    raw = _baselines(run)
    rows = []
    benchmarks = read_json(path)["benchmarks"]
    for found in benchmarks:
        rule = found["length_rule"]
        row = [
            found["title"],
            f"{found['num_items']:,}",
            percent(found["accuracy"]),
            f"{rule} {percent(found['baselines'][rule])}",
        ]
        if raw:
            row.append(percent(raw[found["name"]]["baseline"]))
        rows.append(row)
    columns = ["benchmark", "pairs", "accuracy, %", "length rule, %"]
    columns += ["on raw labels, %"] if raw else []
    return [("Benchmarks", columns, rows), *_beside_accuracy(benchmarks)]


def _beside_accuracy(benchmarks: list[dict[str, Any]]) -> Tables:
    """Return official figures and warnings, which benches of before do not have."""
    official = [
        [found["title"], figure["title"], _estimate(figure["estimate"])]
        for found in benchmarks
        for figure in found.get("figures", [])
        if figure["official"]
    ]
    warnings = [
        [found["title"], text] for found in benchmarks for text in found.get("warnings", [])
    ]
    tables: Tables = []
    if official:
        tables.append(("Official figures", ["benchmark", "figure", "value, %"], official))
    if warnings:
        tables.append(("Warnings", ["benchmark", "of its scores"], warnings))
    return tables


def _estimate(value: dict[str, Any] | float | None) -> str:
    if value is None:
        return "–"
    return percent(value) if isinstance(value, dict) else f"{100 * value:.1f}"


def _baselines(run: Path) -> dict[str, dict[str, Any]]:
    """Return the comparison with the baseline by benchmark, unless it is of an earlier bench."""
    report, record = (run / "compare" / name for name in ("report.json", "stage.json"))
    items = run / "bench" / "items.parquet"
    if not (report.is_file() and record.is_file() and items.is_file()):
        return {}
    inputs = read_json(record).get("inputs", {})  # none where it was killed while it was published
    if inputs.get("items") != fingerprint(items):
        return {}
    return {row["name"]: row for row in read_json(report)["benchmarks"]}
