"""Compressed traces mixed on a local Ray cluster of two workers, one of which is killed in each pass."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ratio_sft import MixSettings, build
from ratio_sft._shared.records import read_json, read_records
from ratio_sft.cli import cli
from ratio_sft.data import shard_mixing
from ratio_sft.errors import DataError

ray = pytest.importorskip("ray", reason="needs ratio-sft[ray]")
pytestmark = pytest.mark.enable_socket
SETTINGS = MixSettings(heldout_share=0.2, plain_share=0.3, traces=25, policy_share=0.3)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def lines(*paths):
    return sorted(line for path in paths for line in path.read_text().splitlines())


def rows(folder):
    return sorted(json.dumps(row) for row in read_records(folder, "sft"))


def killed_once(step, marker):
    """A step of a pass whose worker is killed between the end of the second shard and its report."""

    class Killed(step):
        def __call__(self, shard, out):
            counts = super().__call__(shard, out)
            if Path(shard).name == "b.jsonl" and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return counts

    return Killed


def test_shards_are_mixed_as_in_one_process_although_workers_are_killed(
    tmp_path, trace_shards, mix_options, monkeypatch
):
    build(trace_shards, tmp_path / "one", SETTINGS, **mix_options)
    for step in ("_Surveying", "_Writing"):
        monkeypatch.setattr(shard_mixing, step, killed_once(getattr(shard_mixing, step), tmp_path / step))
    said = []
    build(trace_shards, tmp_path / "mix", SETTINGS, **mix_options, engine="ray", workers=2, notify=said.append)
    assert (tmp_path / "_Surveying").exists()
    assert (tmp_path / "_Writing").exists()
    card, expected = (read_json(tmp_path / name / "card.json") for name in ("mix", "one"))
    assert expected["counts"]["traces_read"] == 40
    assert expected["rejected_by_reason"].keys() == {
        "incorrect", "in_test", "surplus_of_its_length", "no_teacher_ratio"
    }  # fmt: skip
    for each in (card, expected):
        each.pop("examples")
    assert card == expected
    mix, one = tmp_path / "mix", tmp_path / "one"
    assert {path.name for path in (mix / "train").iterdir() if "rejected" not in path.name} <= {
        "a.jsonl", "b.jsonl", "d.jsonl"
    }  # fmt: skip
    for side in ("train", "heldout"):
        assert rows(mix / side) == rows(one / f"{side}.jsonl")
    rejected = (mix / "train").glob("*.rejected.jsonl")
    assert lines(*rejected) == lines(one / "mixture.rejected.jsonl")
    assert (mix / "control_tokens.json").read_bytes() == (one / "control_tokens.json").read_bytes()
    passes = read_json(mix / "manifest.json")["passes"]
    assert [passes[name]["rows"]["read"] for name in ("survey", "rows")] == [40, 40]
    assert re.search("surveys: 40 read, .* 4 shards in .* the slowest", "\n".join(said))
    assert {path.name for path in mix.iterdir()} == {
        "train", "heldout", "control_tokens.json", "card.json", "card.html", "manifest.json"
    }  # fmt: skip
    again = build(trace_shards, mix, SETTINGS, **mix_options, engine="ray")
    assert again["already_finished"]


def test_a_killed_build_does_only_the_missing_shards(tmp_path, trace_shards, monkeypatch):
    """A bad shard is named, the others are surveyed; after it is mended, only it is done, and the mixture is whole."""
    good = (trace_shards / "b.jsonl").read_text()
    (trace_shards / "b.jsonl").write_text(good + '{"id": ')
    said = []
    with pytest.raises(DataError, match="1 of 4 shards failed; repeat the command"):
        build(trace_shards, tmp_path / "mix", SETTINGS, engine="ray", notify=said.append)
    assert [line for line in said if line.startswith("b.jsonl: ") and "b.jsonl:10" in line]
    surveys = tmp_path / ".mix.partial/work/surveys"
    before = {path.name: path.stat().st_mtime_ns for path in surveys.glob("*.found.json")}
    assert before.keys() == {"a.found.json", "c.found.json", "d.found.json"}

    (trace_shards / "b.jsonl").write_text(good)
    run = shard_mixing.ShardJob.run

    def stop_behind_the_rows(job, **options):
        report = run(job, **options)
        if Path(job.out).name == "counts":
            raise KeyboardInterrupt
        return report

    monkeypatch.setattr(shard_mixing.ShardJob, "run", stop_behind_the_rows)
    with pytest.raises(KeyboardInterrupt):
        build(trace_shards, tmp_path / "mix", SETTINGS, engine="ray")
    assert not (tmp_path / "mix").exists()
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in surveys.glob("*.found.json")}.items()
    monkeypatch.undo()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / ".mix.partial/train").iterdir()}
    build(trace_shards, tmp_path / "mix", SETTINGS, engine="ray")
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "mix/train").iterdir()} == {
        path.name: time for path, time in written.items()
    }
    build(trace_shards, tmp_path / "one", SETTINGS)
    assert rows(tmp_path / "mix/train") == rows(tmp_path / "one/train.jsonl")
    other = CliRunner().invoke(
        cli, ["build", str(trace_shards), str(tmp_path / "mix"), "--engine", "ray", "--ratio", "1", "--ratio", "0.2"]
    )
    assert (other.exit_code, "made with other settings" in other.output) == (2, True)
