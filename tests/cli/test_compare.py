"""``tamis compare``: scorers in, tables and one page out."""

from contests import write_benchmark

from tamis.runs import read_json


def test_scorers_are_compared_in_tables_and_on_a_page(tamis, tmp_path):
    first = write_benchmark(tmp_path / "first.jsonl")
    second = write_benchmark(tmp_path / "second.jsonl", text="other")
    out = tmp_path / "out"
    command = ("compare", "longest", "dice=random", "--out", out, "--seed", "1")
    on = ("--on", f"pairs={first}", "--on", f"pairs={second}")
    done = tamis(*command, *on)
    assert done.code == 0, done.err
    for words in ("Accuracy, %", "mean of all", "longest - dice", "told apart?", "dice"):
        assert words in done.out, done.out
    assert f"written: {out}/comparison" in done.out
    assert (out / "comparison" / "compare.html").is_file()
    report = read_json(out / "comparison" / "report.json")
    assert [row["name"] for row in report["contestants"]] == ["longest", "dice"]
    assert f"already done: {out}/comparison" in tamis(*command, *on).out

    alone = tamis(*command, *on[:2], "--reference", "dice", "--limit", "30")
    assert alone.code == 0, alone.err
    assert "Differences on pairs" in alone.out
    assert "mean of all" not in alone.out


def test_answers_of_a_judge_that_name_no_letter_are_told(tamis, tmp_path, server):
    server.answer = lambda path, body: {
        "choices": [{"message": {"content": "Hm." if len(server.bodies) % 4 == 0 else "A"}}]
    }
    file = write_benchmark(tmp_path / "set.jsonl", num_prompts=6)
    command = ("compare", "longest", f"j=judge:{server.url}/v1#m", "--on", f"pairs={file}")
    done = tamis(*command, "--out", tmp_path / "out", "--option", "workers=1")
    assert done.code == 0, done.err
    (bench,) = read_json(tmp_path / "out" / "comparison" / "report.json")["bench"]["j"]
    num = bench["num_unread"]
    assert num == 2 * bench["num_items"] // 4 > 0
    said = " ".join(done.out.split())
    assert f"beware: j, {bench['title']}: {num} answers name no letter" in said
    page = (tmp_path / "out" / "comparison" / "compare.html").read_text(encoding="utf-8")
    assert "answers of the judge name no letter" in page


def test_a_policy_is_compared_by_its_implicit_reward(tamis, tmp_path, llama):
    file = write_benchmark(tmp_path / "set.jsonl", num_prompts=6)
    policy = f"policy=dpo:{llama.path}|{llama.path}|0.5"
    done = tamis("compare", "longest", policy, "--on", f"pairs={file}", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "longest - policy" in done.out
    report = read_json(tmp_path / "out" / "comparison" / "report.json")
    (found,) = report["bench"]["policy"]
    assert found["ties_frac"] == 1.0  # it is no better than itself


def test_what_is_wrong_is_said_in_one_line(bad, tmp_path):
    file = write_benchmark(tmp_path / "set.jsonl", num_prompts=3)
    on = ("--on", f"pairs={file}", "--out", tmp_path / "out")
    assert "name one with --on" in bad("compare", "longest", "--out", tmp_path / "out")
    assert "two scorers are called 'longest'" in bad("compare", "longest", "longest", *on)
    assert "'x' is none of longest" in bad("compare", "longest", "--reference", "x", *on)
    assert "nothing-there" in bad("compare", str(tmp_path / "nothing-there"), *on)
    assert not (tmp_path / "out").exists()
