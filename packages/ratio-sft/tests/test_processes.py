"""Two processes on one machine, joined through gloo: the losses of one process, replicated or sharded (FSDP2)."""

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from ratio_sft import MixSettings, TrainSettings, build, train

SHARD = Path(__file__).with_name("shard_on_cpus.py")
# Of 36 rows, the fifth batch of eight has only four, all for one process. The 9 held-out rows in batches of four are
# two batches for the first process and one batch for the second.
STEPS = {"max_steps": 10, "save_steps": 5, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, write_lines, trace):
    out = tmp_path_factory.mktemp("odd") / "mix"
    traces = write_lines(out.parent / "compressed.jsonl", [trace(number) for number in range(15)])
    build(traces, out, MixSettings(heldout_share=0.2, policy_share=0))
    assert [len((out / f"{name}.jsonl").read_text().splitlines()) for name in ("train", "heldout")] == [36, 9]
    return out


@pytest.fixture(scope="module")
def alone(tmp_path_factory, mixed, base):
    out = tmp_path_factory.mktemp("alone") / "sft"
    train(mixed, out, TrainSettings(model=str(base), batch_size=8, **STEPS))
    return out


def arguments(mixed, out, base, *more):
    named = {"model": base, "batch-size": 4, **{name.replace("_", "-"): value for name, value in STEPS.items()}}
    return ["train", mixed, out, *(text for name, value in named.items() for text in (f"--{name}", value)), *more]


def launch(*command, **environment):
    return subprocess.run(
        list(map(str, command)),
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def sharded(tmp_path_factory, mixed, base):
    """A folder, and what two processes printed that shared models between them: two to train, and one to refuse.

    They have the shipped FSDP2 configuration, but in float32: bfloat16 is for GPUs.
    """
    folder = tmp_path_factory.mktemp("sharded")
    options = {"plain": [], "packed": ["--packing"], "refused": ["--lora-rank", 4]}
    commands = [list(map(str, arguments(mixed, folder / name, base, *more))) for name, more in options.items()]
    config = files("ratio_sft").joinpath("accelerate", "fsdp2.yaml")
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config, "--main_process_port", 0]
    program = ["--mixed_precision", "no", SHARD, json.dumps(commands)]
    return folder, launch(*accelerate, *program, ACCELERATE_TORCH_DEVICE="cpu")


def is_that_of_one_process(out, alone):
    """Losses, held-out losses and weights within float error, and two processes in the manifest."""
    logs = [
        [json.loads(line)["loss"] for line in (folder / "train_log.jsonl").read_text().splitlines()]
        for folder in (out, alone)
    ]
    assert len(logs[1]) == 2
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)
    reports = [json.loads((folder / "train_report.json").read_text()) for folder in (out, alone)]
    assert reports[0]["heldout_loss"] == pytest.approx(reports[1]["heldout_loss"], rel=1e-4)
    weights = [load_file(folder / "model.safetensors") for folder in (out, alone)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.allclose(weight, weights[1][name], atol=1e-4) for name, weight in weights[0].items())
    assert json.loads((out / "manifest.json").read_text())["settings"]["processes"] == 2


def test_two_processes_give_the_losses_of_one_also_where_an_epoch_ends_in_half_a_batch(tmp_path, mixed, base, alone):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2, "-m", "ratio_sft"]
    done = launch(*run, *arguments(mixed, tmp_path / "two", base))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("held-out loss all") == 1
    is_that_of_one_process(tmp_path / "two", alone)


@pytest.mark.parametrize("name", ["plain", "packed"])
def test_a_model_sharded_over_two_processes_gives_the_losses_of_one(sharded, alone, name):
    folder, done = sharded
    assert done.stdout.count("FSDP {'DTensor'}") == 4, done.stderr
    is_that_of_one_process(folder / name, alone)
    model = AutoModelForCausalLM.from_pretrained(folder / name)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_what_cannot_be_sharded_is_refused(sharded):
    folder, done = sharded
    assert (
        "error: --lora-rank needs the whole model on every process (one process, or DDP); leave it out" in done.stderr
    )
    assert {path.name for path in folder.iterdir()} == {"plain", "packed"}
