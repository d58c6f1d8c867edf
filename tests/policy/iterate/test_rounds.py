"""The loop, with phases that only write down that they were there."""

from pathlib import Path

import pytest

from tamis.models.config import ModelConfig
from tamis.policy.iterate.points import as_json, points_from
from tamis.policy.iterate.rounds import Phases, run_rounds
from tamis.policy.iterate.stopping import StopConfig

PHASES = ("sample", "update", "improve", "measure")


class KilledError(Exception):
    """What stands for a power cut in the middle of a phase."""


class Book:
    """Phases that keep what they made in files, as stages do, and count what they compute."""

    def __init__(self, folder: Path, points, *, killed_in: str = "") -> None:
        self.folder, self.points, self.killed_in = folder, points, killed_in
        self.computed: list[str] = []
        self.told: list[int] = []
        self.best: list[str] = []

    def _once(self, name: str, content: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            if name == self.killed_in:
                raise KilledError
            self.computed.append(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return path

    def start(self):
        self._once("start", "")
        return self.points[0]

    def sample(self, now):
        return self._once(f"{now.name}/sample", now.policy.path)

    def update(self, now, responses):
        before = "".join(path.name for path in now.rewards)
        return (self._once(f"{now.name}/update", responses.read_text() + before),)

    def improve(self, now, responses, rewards):
        text = f"{now.policy.path}+{rewards[0].parent.name}"
        return ModelConfig(path=self._once(f"{now.name}/improve", text).read_text())

    def measure(self, now, policy, rewards):
        self.best.append(now.best)
        self._once(f"{now.name}/measure", policy.path + str(len(rewards)))
        return self.points[now.number + 1]

    def tell(self, history):
        self.told.append(len(history.points))

    def run(self, num_rounds: int, **stop):
        phases = Phases(self.start, self.sample, self.update, self.improve, self.measure, self.tell)
        return run_rounds(
            self.folder,
            policy=ModelConfig(path="p"),
            num_rounds=num_rounds,
            phases=phases,
            stop=StopConfig(**stop),
        )


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.fixture
def rising(points):
    return points({"quality": 0.5}, {"quality": 0.6}, {"quality": 0.7}, {"quality": 0.8})


def test_a_round_knows_the_best_before_it(tmp_path, points):
    book = Book(tmp_path, points(*({"quality": q} for q in (0.5, 0.49, 0.7, 0.69, 0.6))))
    book.run(4, quality_patience=None)
    assert book.best == ["start", "start", "round-01", "round-01"]


def test_each_round_starts_from_what_the_one_before_made(tmp_path, rising):
    book = Book(tmp_path, rising)
    history = book.run(2)
    assert book.computed == ["start", *(f"round-0{n}/{phase}" for n in (0, 1) for phase in PHASES)]
    assert book.told == [1, 2, 3]
    assert [policy.path for policy in history.policies] == [
        "p",
        "p+round-00",
        "p+round-00+round-01",
    ]
    assert (tmp_path / "round-01" / "update").read_text() == "p+round-00update"
    assert history.is_over
    assert history.best.name == "round-01"


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("phase", PHASES)
def test_a_loop_killed_in_any_phase_goes_on_there_to_the_same_result(
    tmp_path, rising, phase, number
):
    whole = Book(tmp_path / "whole", rising)
    expected = whole.run(2)
    name = f"round-0{number}/{phase}"
    first = Book(tmp_path / "killed", rising, killed_in=name)
    with pytest.raises(KilledError):
        first.run(2)
    second = Book(tmp_path / "killed", rising)
    history = second.run(2)
    assert second.computed[0] == name
    assert first.computed + second.computed == whole.computed
    assert history == expected
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_more_rounds_go_on_where_the_last_ones_ended(tmp_path, rising):
    Book(tmp_path, rising).run(1)
    more = Book(tmp_path, rising)
    assert len(more.run(3).points) == 4
    assert more.computed[0] == "round-01/sample"


def test_a_rule_ends_the_rounds_and_a_wider_limit_lets_them_go_on(tmp_path, points):
    run = points({}, {"kl": 60.0}, {})
    book = Book(tmp_path, run)
    stopped = book.run(2)
    assert [reason.rule for reason in stopped.reasons] == ["kl"]
    assert len(stopped.points) == 2
    assert stopped.is_over
    assert stopped.best.name == "start"
    again = Book(tmp_path, run)
    assert len(again.run(2, kl=70.0).points) == 3
    assert again.computed[0] == "round-01/sample"


def test_points_come_back_from_json_as_they_were(rising):
    import json

    assert points_from(json.loads(json.dumps(as_json(rising)))) == rising
