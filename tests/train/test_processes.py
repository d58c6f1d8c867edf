"""Several processes: `accelerate launch` on CPU, DDP and FSDP2, against one process."""

import json
import os
import pickle
import subprocess
import sys

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from fitting import judged, learnable, settings
from safetensors.torch import load_file

from tamis.cli import main
from tamis.data import write_pairs
from tamis.denoise.tables import write_verdicts
from tamis.train.fit import fit

# 30 pairs, batches of 8, 8, 7 and 7, and 12 pairs held out of them where any are
COMMON = ["--max-steps", "6", "--batch-size", "8", "--epochs", "50", "--learning-rate", "1e-2"]
HELD_OUT = ["--holdout-frac", "0.3", "--eval-every", "3"]
SHARDED = ["--fsdp", "full_shard"]
COMMANDS = {
    "ddp": ["--micro-batch-size", "2"],
    "held_out": HELD_OUT,
    "fsdp": [*SHARDED, "--micro-batch-size", "2"],
    "fsdp_lora": [*SHARDED, "--lora-rank", "2", "--gradient-checkpointing", *HELD_OUT],
}
LAUNCH = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no"]
SCRIPT = """
import json, os, pickle, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from torch.distributed.tensor import DTensor
from tamis.cli import main
from tamis.models.config import ModelConfig
from tamis.models.load import load_reward_model
from tamis.train.fit import fit
from tamis.train.objective import Outcome
from tamis.train.shard import in_step, shard, whole_state

order = json.loads(sys.argv[1])
for command in order["commands"]:
    try:
        main(command)
    except SystemExit as end:
        assert not end.code, command
fit(**pickle.loads(Path(order["fit"]).read_bytes()))

model = load_reward_model(ModelConfig(path=order["model"]), seed=0)
before = {name: weight.clone() for name, weight in model.state_dict().items()}
texts = [torch.tensor([[5, 6, 7]]), torch.tensor([[8, 9]]), torch.tensor([[4, 9, 6, 5]])]
sum(model(input_ids=text).logits.sum() for text in texts).backward()
gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
model.zero_grad()
shard(model)
assert all(isinstance(weight, DTensor) for weight in model.parameters())
held = sum(weight.to_local().numel() for weight in model.parameters())
assert held < 0.6 * sum(weight.numel() for weight in before.values())
whole = whole_state(model)
is_main = os.environ["RANK"] == "0"
assert (set(whole) == set(before)) == is_main
assert all(torch.equal(weight, before[name]) for name, weight in whole.items())

def uneven(model, texts):
    scores = torch.cat([model(input_ids=text).logits[:, 0] for text in texts])
    return Outcome(loss_B=scores, chosen_B=scores, rejected_B=scores)

mine = texts[:1] if is_main else texts[1:]
outcome = in_step(uneven)(model, mine)
assert len(outcome.loss_B) == len(mine)
outcome.loss_B.sum().backward()
for name, weight in model.named_parameters():  # averaged over the two processes
    torch.testing.assert_close(2 * weight.grad.full_tensor(), gradients[name], msg=name)
"""


@pytest.fixture(scope="module")
def material(tmp_path_factory, llama):
    folder = tmp_path_factory.mktemp("processes")
    write_pairs(folder / "pairs.parquet", learnable())
    write_verdicts(folder / "verdicts.parquet", judged(learnable()))
    return folder


def command(folder, model, *, name, flags, out):
    files = [folder / "pairs.parquet", "--verdicts", folder / "verdicts.parquet"]
    parts = ["train", *files, "--model", model, *COMMON, *flags, "--out", folder / out / name]
    return [str(part) for part in parts]


def fit_arguments(folder, model, *, out):
    train = settings(batch_size=8, compute__micro_batch_size=2, compute__save_every=4)
    pairs = learnable()
    work, checkpoint = folder / out / "fit" / "work", folder / out / "fit" / "rm"
    arguments = {"pairs": pairs, "verdicts": judged(pairs), "model": model, "train": train}
    return {**arguments, "seed": 0, "work": work, "out": checkpoint}


def curve(run):
    report = json.loads((run / "train" / "report.json").read_text())
    points = [*report["loss"], *report.get("held_out", [])]
    return [value for point in points for value in (point["loss"], point["accuracy"])]


@pytest.fixture(scope="module")
def launched(material, llama):
    """Runs all commands twice in two processes that are launched once; returns what they said."""
    commands = [
        command(material, llama.path, name=name, flags=flags, out="two")
        for name, flags in COMMANDS.items()
    ]
    arguments = fit_arguments(material, llama, out="two")
    (material / "fit").write_bytes(pickle.dumps(arguments))
    order = {"commands": [*commands, commands[0]], "model": llama.path, "fit": f"{material}/fit"}
    (material / "script.py").write_text(SCRIPT)
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH]
    environment = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONFAULTHANDLER": "1"}
    return subprocess.run(
        [*launcher, str(material / "script.py"), json.dumps(order)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


@pytest.mark.slow
def test_only_the_main_process_speaks_and_writes(launched, material):
    assert launched.returncode == 0, launched.stderr[-3000:]
    assert launched.stdout.count("written:") == len(COMMANDS)
    assert launched.stdout.count("already done:") == 1
    for name in COMMANDS:
        left = {path.name for path in (material / "two" / name / "train").iterdir()}
        assert left == {".lock", "checkpoint", "report.json", "stage.json", "timing.json"}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_two_processes_learn_what_one_learns(launched, material, llama, name):
    assert launched.returncode == 0, launched.stderr[-3000:]
    flags = [flag for flag in COMMANDS[name] if flag not in SHARDED]
    with pytest.raises(SystemExit) as ended:
        main(command(material, llama.path, name=name, flags=flags, out="one"))
    assert not ended.value.code
    one, two = (material / number / name for number in ("one", "two"))
    assert curve(two) == pytest.approx(curve(one), abs=1e-4)
    weights = [load_file(run / "train" / "checkpoint" / "model.safetensors") for run in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for key, weight in weights[0].items():
        assert (weight - weights[1][key]).abs().max() < 1e-3, key
    assert (two / "train" / "checkpoint" / "adapter").is_dir() == ("lora" in name)


@pytest.mark.slow
def test_gradients_of_two_processes_are_those_of_one(launched, material, llama):
    assert launched.returncode == 0, launched.stderr[-3000:]
    fit(**fit_arguments(material, llama, out="one"))
    norms = []
    for out in ("one", "two"):
        state = material / out / "fit" / "work" / "checkpoint-4" / "trainer_state.json"
        history = json.loads(state.read_text())["log_history"]
        norms.append([entry["grad_norm"] for entry in history if "grad_norm" in entry])
    assert len(norms[0]) == 4
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero2", "zero3"])
def test_accelerate_reads_the_configurations_that_are_shipped(name, request):
    path = request.config.rootpath / "configs" / f"{name}.yaml"
    config = load_config_from_file(str(path))
    kind = {"ddp": "MULTI_GPU", "fsdp2": "FSDP"}.get(name, "DEEPSPEED")
    assert config.distributed_type == kind
    parsed = launch_command_parser().parse_args(["--config_file", str(path), "-m", "tamis"])
    arguments, _, _ = _validate_launch_command(parsed)
    assert arguments.num_processes == 2
    assert arguments.multi_gpu == (kind == "MULTI_GPU")
    assert arguments.use_fsdp == (kind == "FSDP")
    assert arguments.use_deepspeed == (kind == "DEEPSPEED")
    if kind == "FSDP":
        assert str(arguments.fsdp_version) == "2"
    if kind == "DEEPSPEED":
        assert arguments.zero_stage == int(name[-1])
