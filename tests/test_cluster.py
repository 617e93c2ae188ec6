"""The scripts of examples/cluster: what needs no cluster runs here, and Ray reads the file of its cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SCRIPTS = Path(__file__).parents[1] / "examples" / "cluster"
STAGES = ("sample", "compress", "sft", "measure", "rl", "evaluate")


def bash(script, folder, **settings):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "RAY"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        **settings,
    }
    return subprocess.run(
        ["bash", SCRIPTS / script], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_a_dry_run_prints_the_commands_of_every_stage_in_order_and_makes_nothing(tmp_path):
    shown = bash("submit.sh", tmp_path, DRY_RUN="1", PARTS="3", RATIOS="0.3 1.0")
    assert shown.returncode == 0, shown.stderr
    submitted = [line.split()[-1] for line in shown.stdout.splitlines() if line.startswith("sbatch ")]
    assert submitted == [f"{stage}.sbatch" for stage in STAGES]
    assert "sbatch --array 1-3 sample.sbatch" in shown.stdout
    assert "--shard 1/3 " in shown.stdout
    assert "mix --ratio 0.3 --ratio 1.0" in shown.stdout
    assert not list(tmp_path.iterdir())


def test_jobs_are_submitted_each_after_the_one_before(tmp_path):
    """A program named sbatch takes the place of Slurm's, and prints the number of a job as that does."""
    fake = tmp_path / "bin" / "sbatch"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/bash\necho "$*" >> {tmp_path}/jobs\nwc -l < {tmp_path}/jobs\n')
    fake.chmod(0o755)
    done = bash("submit.sh", tmp_path, PATH=f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    jobs = [line.split() for line in (tmp_path / "jobs").read_text().splitlines()]
    assert [job[-1] for job in jobs] == [str(SCRIPTS / f"{stage}.sbatch") for stage in STAGES]
    assert ["afterok" in " ".join(job) for job in jobs] == [False, True, True, True, True, True]
    assert [job[job.index("--dependency") + 1] for job in jobs[1:]] == [f"afterok:{number}" for number in range(1, 6)]
    assert ["--array 1-16" in " ".join(job) for job in jobs] == [stage in ("sample", "measure") for stage in STAGES]


def run_stages(folder, settings, *stages):
    for script, part in stages:
        done = bash(f"{script}.sbatch", folder, **settings, SLURM_ARRAY_TASK_ID=part)
        assert done.returncode == 0, f"{script}: {done.stdout[-2000:]} {done.stderr[-3000:]}"


@pytest.mark.enable_socket
def test_stages_run_without_slurm_on_two_ray_workers_and_two_processes(pipeline, tmp_path):
    """Without `ray symmetric-run`, which refuses a machine on which another test has started Ray: the command does."""
    alone = tmp_path / "bin" / "ray"
    alone.parent.mkdir()
    alone.write_text('#!/bin/bash\nuntil [ "$1" = -- ]; do shift; done\nshift\nexec "$@"\n')
    alone.chmod(0o755)
    settings = {
        "MODEL": str(pipeline / "base"),
        "QUESTIONS": str(pipeline / "problems.jsonl"),
        "BACKEND": "transformers",
        "PARTS": "2",
        "SHARDS": "2",
        "SAMPLES": "1",
        "MAX_TOKENS": "160",
        "RATIOS": "0.2 0.6 1.0",
        "BUILD": "--tolerance 0.15",
        "SFT": "--max-steps 2 --batch-size 4",
        "GPUS": "2",
        "RUN": "run",
        "PATH": os.pathsep.join([str(alone.parent), str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    run_stages(tmp_path, settings, ("sample", "1"), ("sample", "2"), ("compress", ""), ("sft", ""))
    made = json.loads((tmp_path / "run/short/manifest.json").read_text())
    assert made["settings"]["shards"] == ["part-aa.jsonl", "part-ab.jsonl"]
    assert json.loads((tmp_path / "run/mix/card.json").read_text())["counts"]["train"] > 0
    assert (tmp_path / "run/sft/model.safetensors").is_file()


@pytest.mark.enable_socket
def test_rl_starts_from_the_samples_that_are_measured(pipeline, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/sft").symlink_to(pipeline / "sft")
    settings = {
        "QUESTIONS": str(pipeline / "problems.jsonl"),
        "BACKEND": "transformers",
        "PARTS": "1",
        "SAMPLES": "3",
        "MAX_TOKENS": "130",
        "RATIOS": "0.2 0.6 1.0",
        "RL": "--max-steps 1 --prompts-per-step 2 --rollouts 6",
        "GPUS": "1",
        "RUN": "run",
    }
    run_stages(tmp_path, settings, ("measure", "1"), ("rl", ""))
    assert (tmp_path / "run/chrpo/model.safetensors").is_file()


def test_ray_reads_the_cluster_file():
    validate = pytest.importorskip("ray.autoscaler._private.util", reason="needs cot-compressor[ray]")
    content = yaml.safe_load((SCRIPTS / "ray_cluster.yaml").read_text())
    validate.validate_config(validate.prepare_config(content))
