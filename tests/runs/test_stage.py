import json
import subprocess
import sys
from dataclasses import replace

import pytest
from filelock import FileLock

from tamis.errors import ConfigError, DataError
from tamis.runs import Stage, read_json, run_stage, write_text
from tamis.runs.stage import RECORD


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path / "run" / "vote", {"seed": 1}, {"pairs": "abc"}, {"path": "x"})


@pytest.fixture
def produce(stage):
    """A stage that counts its runs and writes two files."""

    class Produce:
        runs = 0

        def __call__(self, out, work):
            self.runs += 1
            write_text(out / "out.txt", "result")
            write_text(out / "sub" / "more.txt", "more")

    return Produce()


def names(directory):
    return sorted(p.name for p in directory.iterdir() if p.name != ".lock")


def test_a_complete_stage_is_not_run_again(stage, produce):
    first, second = run_stage(stage, produce), run_stage(stage, produce)
    assert (first.fresh, second.fresh, produce.runs) == (True, False, 1)
    assert first.directory == second.directory == stage.directory
    assert names(stage.directory) == ["out.txt", RECORD, "sub"]


def test_the_record_says_what_was_made_of_what(stage, produce):
    run_stage(stage, produce)
    record = read_json(stage.directory / RECORD)
    assert (record["stage"], record["key"]) == ("vote", stage.key)
    assert record["config"] == {"seed": 1}
    assert record["inputs"] == {"pairs": "abc"}
    assert record["notes"] == {"path": "x"}
    assert sorted(record["outputs"]) == ["out.txt", "sub/more.txt"]
    assert {"python", "tamis", "torch"} <= record["versions"].keys()


@pytest.mark.parametrize(
    "change", [{"config": {"seed": 2}}, {"inputs": {"pairs": "abd"}}, {"inputs": {}}]
)
def test_another_key_runs_again_and_leaves_nothing_of_the_old(stage, produce, change):
    run_stage(stage, lambda out, work: write_text(out / "old.txt", "old"))
    changed = replace(stage, **change)
    assert changed.key != stage.key
    assert run_stage(changed, produce).fresh
    assert names(stage.directory) == ["out.txt", RECORD, "sub"]


def test_notes_do_not_identify_a_stage_but_its_name_does(stage):
    assert replace(stage, notes={"path": "y"}).key == stage.key
    assert replace(stage, directory=stage.directory.with_name("train")).key != stage.key
    assert replace(stage, directory=stage.directory.parent / "x" / "vote").key == stage.key


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_damaged_output_runs_again(stage, produce, damage):
    run_stage(stage, produce)
    path = stage.directory / "sub" / "more.txt"
    path.write_text("edited") if damage == "changed" else path.unlink()
    assert run_stage(stage, produce).fresh
    assert path.read_text() == "more"


def test_a_further_file_does_not_matter(stage, produce):
    run_stage(stage, produce)
    (stage.directory / "mine.txt").write_text("notes of the user")
    assert not run_stage(stage, produce).fresh
    assert (stage.directory / "mine.txt").is_file()


def fail_after(path):
    def produce(out, work):
        write_text(path(work), "scratch")
        raise KeyboardInterrupt

    return produce


def test_scratch_of_the_same_key_survives_a_crash(stage):
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage, fail_after(lambda work: work / "chunk"))
    seen = []
    run_stage(stage, lambda out, work: seen.append((work / "chunk").read_text()))
    assert seen == ["scratch"]
    assert names(stage.directory) == [RECORD]


def test_scratch_of_another_key_is_wiped(stage):
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage, fail_after(lambda work: work / "runs" / "chunk"))
    seen = []
    other = replace(stage, config={"seed": 2})
    run_stage(other, lambda out, work: seen.append(names(work)))
    assert seen == [["key", "out"]]


def test_outputs_of_a_crashed_run_are_not_kept(stage, produce):
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage, fail_after(lambda work: work / "out" / "half.txt"))
    assert not (stage.directory / RECORD).exists()
    assert run_stage(stage, produce).fresh
    assert names(stage.directory) == ["out.txt", RECORD, "sub"]


def test_an_error_of_the_stage_comes_through_and_the_last_result_stays(stage, produce):
    def fail(out, work):
        write_text(out / "out.txt", "half")
        raise DataError("row 3 is odd")

    run_stage(stage, produce)
    with pytest.raises(DataError, match="row 3 is odd"):
        run_stage(replace(stage, config={"seed": 2}), fail)
    assert names(stage.directory) == ["out.txt", RECORD, "sub"]
    assert not run_stage(stage, produce).fresh  # the last good result is still there


def test_an_error_on_new_ground_leaves_nothing(stage):
    def fail(out, work):
        raise DataError("row 3 is odd")

    with pytest.raises(DataError):
        run_stage(stage, fail)
    assert not stage.directory.parent.exists()


def test_an_error_keeps_scratch_worth_resuming(stage):
    def fail(out, work):
        write_text(work / "chunk", "scratch")
        raise DataError("row 3 is odd")

    with pytest.raises(DataError):
        run_stage(stage, fail)
    assert names(stage.directory / "work") == ["chunk", "key"]


@pytest.mark.parametrize(
    "foreign", ["thesis.tex", "photos/me.png", "work/thesis.tex", "members/me.png"]
)
def test_a_folder_of_somebody_else_is_refused_and_untouched(stage, produce, foreign):
    path = stage.directory / foreign
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    with pytest.raises(ConfigError, match=r"run/vote: expected an empty folder .*choose another"):
        run_stage(stage, produce)
    assert path.read_text() == "years of work"
    assert produce.runs == 0


def test_what_a_stage_keeps_outlives_its_settings_and_its_record(stage, produce):
    write_text(stage.directory / "members" / "key", "of the votes")
    write_text(stage.directory / "members" / "vote", "kept")
    run_stage(stage, produce)
    run_stage(replace(stage, config={"seed": 2}), produce)
    assert (stage.directory / "members" / "vote").read_text() == "kept"
    assert names(stage.directory) == ["members", "out.txt", RECORD, "sub"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/vote: cannot write there"):
        run_stage(Stage(tmp_path / "file" / "vote", {}), lambda out, work: None)
    (tmp_path / "vote").write_text("")
    with pytest.raises(ConfigError, match=r"vote: cannot write there"):
        run_stage(Stage(tmp_path / "vote", {}), lambda out, work: None)


def test_an_error_of_the_system_inside_a_stage_is_not_blamed_on_its_folder(stage):
    def fail(out, work):
        raise PermissionError(13, "no", "/model.safetensors")

    with pytest.raises(PermissionError, match="model"):
        run_stage(stage, fail)


def test_a_second_process_is_locked_out(stage, produce):
    script = (
        "import sys; from pathlib import Path; from tamis.runs import Stage, run_stage\n"
        "run_stage(Stage(Path(sys.argv[1]), {}), lambda out, work: print('ran'))"
    )
    stage.directory.mkdir(parents=True)
    with FileLock(stage.directory / ".lock"):
        done = subprocess.run(
            [sys.executable, "-c", script, str(stage.directory)], capture_output=True, text=True
        )
        with pytest.raises(ConfigError, match="another process is working on this stage"):
            run_stage(stage, produce)
    assert done.returncode == 1
    assert "ConfigError" in done.stderr
    assert "another process is working on this stage" in done.stderr
    assert done.stdout == ""
    assert run_stage(stage, produce).fresh


CRASHES = '''
"""Kills a stage right before every single thing it does to the file system, and completes it."""
import itertools, json, os, shutil, sys
from pathlib import Path
from tamis.runs import Stage, run_stage, write_text

EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
state = {"left": -1}
os.fsync = lambda descriptor: None  # a killed process loses nothing that it has written

def hook(event, args):
    writes = event != "open" or args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if state["left"] >= 0 and event in EVENTS and writes:
        if state["left"] == 0:
            os._exit(9)
        state["left"] -= 1

def stage_of(directory, key):
    def produce(out, work):
        begun, chunks = work / "a" / "begun", [work / "a" / "1", work / "b" / "2"]
        if begun.exists():  # half a scratch folder must never be taken for a whole one
            assert (work / "first").exists() and begun.read_text() == key, sorted(work.rglob("*"))
        else:
            write_text(work / "first", key)
            write_text(begun, key)
        for number, chunk in enumerate(chunks):
            if not chunk.exists():
                write_text(chunk, f"{key}{number}")
        write_text(out / "sub" / "x.txt", "".join(c.read_text() for c in chunks))
        write_text(out / f"{key}.txt", key)  # the other key leaves no such file
    return Stage(directory, {"key": key}), produce

def attempt(directory, key, crash_at):
    """Run the stage in a child that dies at its n-th event; return whether it got through."""
    child = os.fork()
    if child == 0:
        state["left"] = crash_at
        try:
            run_stage(*stage_of(directory, key))
        except BaseException as error:
            print(key, crash_at, repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 0

sys.addaudithook(hook)
root, before, then = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
template = root / "before" / "stage"
template.parent.mkdir()
if before == "finished":
    assert attempt(template, "A", 10**6)
elif before == "interrupted":
    attempt(template, "A", 24)
    assert (template / "work" / "a" / "begun").exists(), sorted(template.rglob("*"))
for n in itertools.count():
    directory = root / str(n) / "stage"
    if before == "nothing":
        directory.parent.mkdir()
    else:
        shutil.copytree(template, directory)
    got_through = attempt(directory, then, n)
    last = "A" if n % 2 else "B"
    assert attempt(directory, last, 10**6)
    found = sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())
    assert found == [".lock", f"{last}.txt", "stage.json", "sub/x.txt"], found
    assert (directory / "sub" / "x.txt").read_text() == f"{last}0{last}1"
    if got_through:
        break
print(json.dumps(n))
'''


@pytest.mark.parametrize(
    ("before", "then"),
    [("nothing", "A"), ("finished", "A"), ("finished", "B"), ("interrupted", "B")],
)
def test_a_crash_between_any_two_steps_leaves_what_the_next_run_completes(tmp_path, before, then):
    done = subprocess.run(
        [sys.executable, "-c", CRASHES, str(tmp_path), before, then],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) > (3 if (before, then) == ("finished", "A") else 20)
