"""The launch scripts give OpenRLHF and verl options that these know, with values that they take.

Nothing is launched: programs that only write down their arguments stand in for Python and for the
server. Where a package is installed, as `make setup` does, its own parser or configuration is
asked, else what ``examples/record_options.py`` recorded of it.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from serving import listening, write_checkpoint

import tamis
from tamis.serve.config import ServeConfig
from tamis.serve.engine import load_member

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
TYPES = {"int": int, "float": float, "str": str, None: str}
KWARGS = "reward.custom_reward_function.reward_kwargs."  # of reward.py, none of verl's
NO_POINT = "actor_rollout_ref.rollout.top_p"  # a share, whose default verl writes as 1
NOTING = """#!{python}
import json, os, sys
with open(os.environ["NOTED"], "a") as file:
    file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
"""
STAYING = f"{NOTING}import time\ntime.sleep(60)\n"  # a server, until it is ended
HEALTH = "#!/bin/sh\ngrep -q tamis $NOTED\n"  # of the server: healthy once it has noted


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


RECORDER = module(EXAMPLES / "record_options.py")


def installed(package):
    """The text of what an installed package says of its options; it is not imported."""
    spec = importlib.util.find_spec(package)
    inside = Path(RECORDER.INSIDE[package])
    return None if spec is None else (Path(spec.origin).parents[1] / inside).read_text("utf-8")


def recorded(name):
    return json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))


def openrlhf_parser():
    text = installed("openrlhf")
    if text is not None:
        return RECORDER.parser_of(text)
    parser = argparse.ArgumentParser()
    for name, option in recorded("openrlhf")["options"].items():
        if option["takes"] == 0:
            parser.add_argument(name, action="store_true")
        else:
            kind = TYPES[option["type"]]
            parser.add_argument(name, nargs=option["takes"], type=kind, choices=option["choices"])
    return parser


def verl_keys():
    text = installed("verl")
    return recorded("verl")["options"] if text is None else RECORDER.keys_of(text)


def misfits(settings):
    """What verl's configuration does not take of settings by dotted key, in words."""
    keys, found = verl_keys(), []
    for key, value in settings.items():
        if key.startswith(KWARGS):
            continue
        if key not in keys:
            found.append(f"verl has no key {key}")
            continue
        kind = type(value).__name__
        # a default of null, or one that stands for another key, says nothing of the kind
        fits = keys[key] in (kind, "NoneType", RECORDER.OPEN)
        fits = fits or (kind, keys[key]) == ("int", "float")
        if not (fits or (key, kind) == (NO_POINT, "float")):
            found.append(f"{key}: {value!r} is no {keys[key]}")
    return found


@pytest.fixture
def launch(tmp_path):
    """Runs a script and returns the arguments that each program would have got, in order."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("python3", NOTING), ("tamis", STAYING), ("curl", HEALTH)):
        (programs / name).write_text(text.format(python=sys.executable), encoding="utf-8")
        (programs / name).chmod(stat.S_IRWXU)

    def run(script, *, capture_output=False, **variables):
        noted = tmp_path / "noted.jsonl"
        noted.write_text("", encoding="utf-8")
        environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "NOTED": str(noted),
            "POLICY": "org/policy",
            "RM": "runs/rm",
            "PROMPTS": "prompts.jsonl",
            "OUT": str(tmp_path / "out"),
            **variables,
        }
        subprocess.run(
            ["bash", str(EXAMPLES / script)],
            env=environment,
            check=True,
            timeout=60,
            capture_output=capture_output,
        )
        return [json.loads(line) for line in noted.read_text(encoding="utf-8").splitlines()]

    return run


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_openrlhf_takes_every_option(launch, name):
    calls = launch(f"openrlhf/{name}.sh", RM_IS_SERVED="1")
    (command,) = [call for call in calls if call[0] == "python3"]
    assert command[1:3] == ["-m", "openrlhf.cli.train_ppo_ray"]
    found = vars(openrlhf_parser().parse_args(command[3:]))
    # limits are of standard deviations, of the server's rewards and of the critic that starts as RM
    assert found["reward.remote_url"] == "http://127.0.0.1:8766/get_reward?which=standardised"
    assert found["reward.clip_range"] == [-0.8, 0.8]
    assert found["reward.normalize_enable"] == (name == "ppo")
    assert found["actor.adam.lr"] == 5e-7
    assert found["algo.advantage.estimator"] == {"ppo": "gae", "grpo": "group_norm"}[name]
    assert found["critic.model_name_or_path"] == {"ppo": "runs/rm", "grpo": None}[name]
    # a step takes whole roll-outs
    answers = found["rollout.batch_size"] * found["rollout.n_samples_per_prompt"]
    assert answers == found["train.batch_size"]


def test_openrlhf_without_a_served_model_starts_the_server(launch):
    calls = launch("openrlhf/ppo.sh")
    served = [call for call in calls if call[0] == "tamis"]
    assert served == [["tamis", "serve", "runs/rm", "--port", "8766", "--queue", "4096"]]


def said_by(launch, programs, script, **texts):
    """The words with which a script ends, with other programs in the place of some."""
    for name, text in texts.items():
        (programs / name).write_text(text, encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError) as ended:
        launch(script, capture_output=True)
    return ended.value.stderr.decode()


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_a_server_that_is_there_already_is_not_taken_for_the_own_one(launch, tmp_path, name):
    bin_, script = tmp_path / "bin", f"openrlhf/{name}.sh"
    said = said_by(launch, bin_, script, curl="#!/bin/sh\nexit 0\n")
    assert "is served already: set RM_IS_SERVED=1 if that is runs/rm" in said
    assert (tmp_path / "noted.jsonl").read_text() == ""
    # the own one ends, and another answers
    curl = (
        f"#!/bin/sh\nsleep 0.3\n[ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; exit 1; }}\n"
    )
    said_by(launch, bin_, script, curl=curl, tamis="#!/bin/sh\nexit 1\n")
    assert (tmp_path / "noted.jsonl").read_text() == ""


def test_an_option_that_openrlhf_does_not_know_is_noticed():
    with pytest.raises(SystemExit):
        openrlhf_parser().parse_args(["--reward.remote_urls", "x"])
    with pytest.raises(SystemExit):
        openrlhf_parser().parse_args(["--algo.advantage.estimator", "gea"])


@pytest.mark.parametrize("method", ["ppo", "grpo"])
@pytest.mark.parametrize("url", ["", "http://127.0.0.1:8766"])
def test_verl_takes_every_override(launch, method, url):
    prepared, command = launch("verl/ppo.sh", METHOD=method, RM_URL=url)
    assert prepared[1].endswith("examples/verl/prompts.py")
    assert command[1:3] == ["-m", "verl.trainer.main_ppo"]
    config = command[command.index("--config-path") + 1 : command.index("--config-path") + 4]
    assert config == [str(EXAMPLES / "verl"), "--config-name", "ppo"]
    overrides = dict(text.split("=", 1) for text in command[7:])
    # what verl's configuration lacks is added with a plus
    assert {key for key in overrides if key.startswith("+")} == {
        f"+{KWARGS}{'url' if url else 'checkpoint'}"
    }
    values = {key: yaml.safe_load(text) for key, text in overrides.items()}
    assert misfits({key.removeprefix("+"): value for key, value in values.items()}) == []
    assert values[f"{KWARGS}clip"] == 0.8
    assert ("algorithm.adv_estimator" in overrides) == (method == "grpo")


def test_verl_takes_every_setting_of_the_file():
    content = yaml.safe_load((EXAMPLES / "verl" / "ppo.yaml").read_text(encoding="utf-8"))
    assert content.pop("hydra") == {"searchpath": ["pkg://verl.trainer.config"]}
    assert content.pop("defaults") == ["ppo_trainer", "_self_"]
    settings = dict(RECORDER.leaves_of(content))
    assert len(settings) > 20
    assert misfits(settings) == []
    assert settings[f"{KWARGS}clip"] == 0.8


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("actor_rollout_ref.actor.optim.lr", "5e-7"),  # without a point, a text to YAML 1.1
        ("actor_rollout_ref.rollout.n", "2.5"),
        ("actor_rollout_ref.rollout.n", "null"),
        ("algorithm.use_kl_in_reward", "0"),
        ("algorithm.adv_estimator", "1"),
        ("trainer.logger", "console"),
        ("trainer.learning_rate", "0.1"),
    ],
)
def test_a_setting_that_verl_does_not_take_is_noticed(key, text):
    (said,) = misfits({key: yaml.safe_load(text)})
    assert key in said


@pytest.mark.parametrize("name", ["openrlhf", "verl"])
def test_what_is_recorded_of_a_package_is_what_it_has(name):
    text = installed(name)
    if text is None:
        pytest.skip(f"{name} is not installed")
    version, options = importlib.metadata.version(name), RECORDER.recorded_of(name, text)
    assert recorded(name) == {"version": version, "options": options}


def test_prompts_become_rows_of_verl(tmp_path):
    source = tmp_path / "prompts.jsonl"
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    source.write_text(
        json.dumps({"prompt": "Name an animal."}) + "\n" + json.dumps({"prompt": turns}) + "\n",
        encoding="utf-8",
    )
    module(EXAMPLES / "verl" / "prompts.py").main(str(source), str(tmp_path / "out.parquet"))
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows[0]["prompt"] == [{"role": "user", "content": "Name an animal."}]
    assert rows[1]["extra_info"] == {"index": 1, "prompt": turns}
    assert rows[1]["data_source"] == "tamis"
    assert rows[1]["reward_model"]["ground_truth"] == ""


def test_the_reward_of_verl_is_that_of_the_server_and_of_the_checkpoint(llama, tmp_path):
    rm = write_checkpoint(llama.path, tmp_path / "rm", seed=1, mean=-4.0, std=2.0)
    score = module(EXAMPLES / "verl" / "reward.py").compute_score
    turns = [{"role": "user", "content": "Name an animal."}]
    sample = {"solution_str": "A fox.", "extra_info": {"prompt": turns, "index": 3}}
    answer = [{"role": "assistant", "content": "A fox."}]
    (wanted,) = tamis.reward_func(rm)(prompts=[turns], completions=[answer])
    with listening(load_member(rm, ServeConfig())) as (address, _):
        served = score("tamis", **sample, ground_truth="", url=address)
        cut = score("tamis", **sample, url=address, clip=0.5)
    assert cut == {"score": 0.5, "raw": served["raw"]}
    assert served == {"score": pytest.approx(wanted, abs=1e-6), "raw": served["score"]}
    assert score("tamis", **sample, checkpoint=rm)["raw"] == pytest.approx(wanted, abs=1e-6)
    # raw scores of this model are far from 0; what a limit is for are standard deviations
    near = pytest.approx((wanted + 4.0) / 2.0, abs=1e-6)
    assert score("tamis", **sample, checkpoint=rm, clip=9.0)["score"] == near
    assert score("tamis", **sample, checkpoint=rm, clip=0.1)["score"] == 0.1
    unknown = write_checkpoint(llama.path, tmp_path / "unknown", seed=1)
    with listening(load_member(unknown, ServeConfig())) as (address, _):
        with pytest.raises(ValueError, match="records no mean and standard deviation"):
            score("tamis", **sample, url=address, clip=0.8)
        assert score("tamis", **sample, url=address)["score"] == pytest.approx(wanted, abs=1e-6)
