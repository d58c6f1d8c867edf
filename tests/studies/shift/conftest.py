import gzip
import json
from pathlib import Path

import pytest

GRADES = ("easy", "normal", "hard")
Row = dict[str, object]


def row(prompt: str, *, number: int, split: str = "test", **more: object) -> Row:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": f"good {number}"}],
        "rejected": [{"role": "assistant", "content": f"bad {number}"}],
        "split": split,
        **more,
    }


def write(folder: Path, name: str, rows: list[Row]) -> None:
    with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(one) + "\n" for one in rows)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files of the study, small.

    Each part of HH has 40 training and 30 test pairs; the last test prompt of the helpful part is
    a training prompt. RM-Bench has 24 prompts with two pairs of each difficulty, but for one pair.
    """
    folder = tmp_path_factory.mktemp("data")
    for part in ("helpful", "harmless"):
        rows = [row(f"{part} fox {n}?", number=n, split="train") for n in range(40)]
        rows += [row(f"{part} dog {n}?", number=n) for n in range(29)]
        last = "Helpful  FOX 3?" if part == "helpful" else "harmless dog 29?"
        write(folder, f"hh_{part}_base", [*rows, row(last, number=29)])
    for name in ("hhh_alignment", "llmbar_natural", "mt_bench_human", "xstest"):
        rows = [row(f"{name} {n // 2}?", number=n) for n in range(60)]
        write(folder, f"eval_{name}", rows)
    for name in ("safety", "code"):
        rows = [
            row(
                f"{name} {group}?",
                number=100 * place + group,
                group=f"{name}-{group}",
                subset=f"{name}/{GRADES[place % 3]}",
            )
            for group in range(24)
            for place in range(6)
        ]
        write(folder, f"eval_rm_bench_{name}", rows[1:])
    graded = [
        row(f"graded {n // 4}?", number=n, split="train" if n < 80 else "test", margin=0.5)
        for n in range(100)
    ]
    write(folder, "alpacaeval_gpt4turbo_graded", graded)
    return folder
