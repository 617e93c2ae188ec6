import json
import tracemalloc

import pytest
from click.testing import CliRunner

from math_eval._shared.lock import locked
from math_eval._shared.records import read_records
from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.export import export_traces

_GOOD = "<COMP_20> <think> 1 + 2 = 3 </think> So \\boxed{3}."


def test_only_whole_correct_samples_become_traces(write_run, tmp_path):
    rows = [
        {"id": "good", "completion": _GOOD, "level": 4},
        {"id": "good", "completion": _GOOD, "sample": 1},
        {"id": "wrong", "verdict": "incorrect"},
        {"id": "silent", "completion": "\\boxed{3}"},
        {"id": "empty", "completion": "<think> </think> \\boxed{3}"},
        {"id": "open", "completion": "<think> 3"},
        {"id": "cut", "finish_reason": "length"},
    ]
    out = tmp_path / "traces.jsonl"
    tally = export_traces(write_run("base", rows), out, samples_per_problem=1)
    (trace,) = read_records(out, "traces")
    assert (trace["cot"], trace["response"], trace["level"]) == ("1 + 2 = 3", "So \\boxed{3}.", 4)
    assert (trace["model"], trace["correct"], trace["sample"], trace["task"]) == ("base", True, 0, "sums")
    assert "completion" not in trace
    assert tally.summary() == (
        "7 read, 1 written, 6 rejected (enough_samples 1, incorrect 1, no_thinking 3, truncated 1)"
    )
    rejected = [json.loads(line) for line in (tmp_path / "traces.rejected.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in rejected] == ["good", "wrong", "silent", "empty", "open", "cut"]


def test_two_exports_do_not_write_the_same_file(write_run, tmp_path):
    run, out = write_run("base", [{"id": "good", "completion": _GOOD}]), tmp_path / "traces.jsonl"
    with locked(out), pytest.raises(DataError, match=r"traces\.jsonl: another process is writing it"):
        export_traces(run, out)
    assert not out.exists()
    assert export_traces(run, out).written == 1
    assert sorted(path.name for path in tmp_path.glob("*traces*")) == ["traces.jsonl"]


def test_a_run_with_several_ratios_must_be_told_which(write_run, tmp_path):
    run = write_run("sft", [{"id": "a", "ratio": 0.2}, {"id": "a", "ratio": "policy"}])
    refused = CliRunner().invoke(cli, ["export", "traces", str(run), str(tmp_path / "t.jsonl")])
    assert (refused.exit_code, "several ratios (0.2, policy)" in refused.stderr) == (2, True)
    done = CliRunner().invoke(cli, ["export", "traces", str(run), str(tmp_path / "t.jsonl"), "--ratio", "policy"])
    assert (done.exit_code, "1 read, 1 written, 0 rejected" in done.stderr) == (0, True)


def test_a_run_without_any_trace_writes_no_file(write_run, tmp_path):
    run = write_run("base", [{"id": "a", "verdict": "incorrect"}])
    with pytest.raises(DataError, match="nothing to export"):
        export_traces(run, tmp_path / "t.jsonl")
    assert not (tmp_path / "t.jsonl").exists()


def test_the_samples_of_a_run_are_never_in_memory_together(write_run, tmp_path):
    rows = [{"id": str(number), "completion": _GOOD + 20_000 * " "} for number in range(300)]
    run = write_run("base", rows)
    tracemalloc.start()
    export_traces(run, tmp_path / "traces.jsonl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300 * 20_000 / 3
