"""``tamis sample``: prompts and a policy in, responses and a table out."""

import json

import pytest

from tamis.runs import read_json


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"the fox {n}"}) + "\n" for n in range(3)))
    return path


def test_the_best_of_n_is_kept_and_told(tamis, llama, prompts, tmp_path):
    out = tmp_path / "out"
    command = ("sample", prompts, "--policy", llama.path, "--out", out, "--best-of", "4")
    small = ("--max-new-tokens", "4", "--temperature", "1.2", "--seed", "3")
    done = tamis(*command, *small, "--rm", "longest", "--gold", "random")
    assert done.code == 0, done.err
    for words in ("12 to 3 prompts", "best of 4", "KL, at most", "gold reward", "log n - (n - 1)"):
        assert words in done.out, done.out
    assert f"written: {out}/sample" in done.out
    report = read_json(out / "sample" / "report.json")
    assert report["config"]["sampling"]["num"] == 4
    assert report["config"]["sampling"]["temperature"] == 1.2
    assert report["seed"] == 3
    again = tamis(*command, *small, "--rm", "longest", "--gold", "random")
    assert f"already done: {out}/sample" in again.out

    # without equal scores there is one column of the divergence
    dice = tamis(*command, *small, "--rm", "random")
    assert "KL, with ties" not in dice.out
    constant = tamis(*command, *small, "--rm", "constant")
    assert "3 ties left out" in constant.out
    assert "KL, with ties" in constant.out

    alone = tamis(*command[:-2], *small, "--num", "2", "--limit", "1")
    assert alone.code == 0, alone.err
    assert "2 to 1 prompts" in alone.out
    assert "KL" not in alone.out


def test_other_settings_of_policy_and_sampling_are_set(tamis, bad, llama, prompts, tmp_path):
    command = ("sample", prompts, "--out", tmp_path / "out", "--limit", "1")
    policy = ("--policy", llama.path, "--max-new-tokens", "2", "--temperature", "0")
    done = tamis(*command, *policy, "--set", "policy.dtype=bfloat16", "--set", "sampling.top_k=5")
    assert done.code == 0, done.err
    report = read_json(tmp_path / "out" / "sample" / "report.json")
    assert report["config"]["sampling"]["top_k"] == 5
    assert report["config"]["sampling"]["num"] == 1  # greedy
    stage = read_json(tmp_path / "out" / "sample" / "stage.json")
    assert "bfloat16" in json.dumps(stage)
    told = bad(*command, "--endpoint", "http://localhost/v1#m", "--set", "policy.dtype=bfloat16")
    assert "policy.dtype is set, and no --policy is named" in told
    assert "nonsense" in bad(*command, *policy, "--set", "policy.nonsense=1")
    below = bad(*command, *policy, "--set", "limit.x=1")
    assert below == "options: key 'limit.x': limit is 1, no group of settings"
    assert "key 'sampling.num' is None" in bad(*command, *policy, "--set", "sampling.num=null")
    assert "key 'path' is None" in bad(*command, *policy, "--set", "policy.path=null")
    assert "sampling.nothing" in bad(*command, *policy, "--set", "sampling.nothing=1")


def test_what_is_wrong_is_said_in_one_line(bad, llama, prompts, tmp_path):
    out = ("--out", tmp_path / "out")
    policy = ("--policy", llama.path)
    assert "no policy to sample from" in bad("sample", prompts, *out)
    assert "name one with --rm" in bad("sample", prompts, *policy, *out, "--best-of", "2")
    assert "expected URL#MODEL" in bad("sample", prompts, *out, "--endpoint", "http://localhost/v1")
    assert "found one" in bad(
        "sample", prompts, *policy, *out, "--rm", "longest", "--ensemble", "min"
    )
    assert "temperature" in bad("sample", prompts, *policy, *out, "--temperature", "-1")
    assert "no such file" in bad("sample", tmp_path / "none.jsonl", *policy, *out)
    assert not (tmp_path / "out").exists()
