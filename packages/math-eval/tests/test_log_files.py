"""Runs as result files of other tools; their modules name the releases that have read them."""

import json

import pytest
from click.testing import CliRunner

from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.log_files import TOOLS, export_logs

_ROWS = [
    {"id": "a", "level": 4, "seed": 0, "ratio": "policy", "chosen_ratio": 0.2},
    {
        "id": "a",
        "level": 4,
        "seed": 1,
        "ratio": "policy",
        "verdict": "incorrect",
        "extracted": "4",
        "chosen_ratio": 0.6,
    },
    {"id": "b", "seed": 0, "ratio": "policy", "verdict": "no_answer", "extracted": None, "finish_reason": "length"},
    {"id": "b", "seed": 1, "ratio": "policy", "completion": "", "refused": "too long", "verdict": "error"},
]


@pytest.fixture
def run(write_run):
    return write_run("sft", _ROWS)


def _read(folder):
    return {
        str(path.relative_to(folder)): [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if path.suffix == ".jsonl"
        else json.loads(path.read_text("utf-8"))
        for path in sorted(folder.rglob("*.json*"))
    }


def test_lm_eval_gets_a_results_file_and_one_row_of_samples_for_each_problem(run, tmp_path):
    assert export_logs(run, tmp_path / "out", tool="lm-eval") == 2
    (results_name, results), (samples_name, samples) = _read(tmp_path / "out").items()
    assert results_name.startswith("sft@policy/results_")
    assert samples_name == results_name.replace("results_", "samples_sums_").replace(".json", ".jsonl")
    assert results["results"]["sums"]["acc,none"] == 0.25
    assert [(row["doc_id"], row["acc"], row["filtered_resps"]) for row in samples] == [
        (0, 0.5, [["3", "4"]]), (1, 0.0, [["", "3"]])
    ]  # fmt: skip
    assert samples[0]["doc"]["level"] == 4
    assert [one["verdict"] for one in samples[1]["doc"]["math_eval"]] == ["no_answer", "error"]
    assert {name for name, value in samples[0].items() if isinstance(value, float)} == {"acc"}


def test_inspect_gets_a_log_with_an_epoch_for_each_draw(run, tmp_path):
    assert export_logs(run, tmp_path / "out", tool="inspect") == 1
    (log,) = _read(tmp_path / "out").values()
    assert (log["version"], log["status"], log["eval"]["task"], log["eval"]["config"]["epochs"]) == (
        2,
        "success",
        "sums",
        2,
    )
    assert log["results"]["scores"][0]["metrics"]["accuracy"]["value"] == 0.25
    assert [(one["id"], one["epoch"], one["scores"]["math_eval"]["value"]) for one in log["samples"]] == [
        ("a", 1, "C"), ("a", 2, "I"), ("b", 1, "I"), ("b", 2, "I")
    ]  # fmt: skip
    assert [one["output"]["choices"][0]["stop_reason"] for one in log["samples"]] == [
        "stop",
        "stop",
        "max_tokens",
        "stop",
    ]
    assert log["samples"][0]["output"]["usage"] == {"output_tokens": 15, "total_tokens": 15, "reasoning_tokens": 10}
    assert log["samples"][0]["metadata"]["level"] == 4
    assert log["samples"][3]["scores"]["math_eval"]["explanation"] == "too long"


def test_evalscope_gets_a_report_and_the_reviews_that_it_links(run, tmp_path):
    assert export_logs(run, tmp_path / "out", tool="evalscope") == 2
    files = _read(tmp_path / "out")
    report, reviews = files["reports/sft@policy/sums.json"], files["reviews/sft@policy/sums_default.jsonl"]
    assert (report["dataset_name"], report["model_name"]) == ("sums", "sft@policy")
    assert report["metrics"][0]["categories"][0]["subsets"] == [{"name": "default", "num": 4, "score": 0.25}]
    scores = [(row["index"], row["sample_score"]["group_id"], row["sample_score"]["score"]["value"]) for row in reviews]
    assert scores == [(0, 0, {"acc": 1.0}), (1, 0, {"acc": 0.0}), (2, 1, {"acc": 0.0}), (3, 1, {"acc": 0.0})]
    assert reviews[0]["messages"][1] == {"role": "assistant", "content": "<think> 1 + 2 = 3 </think> \\boxed{3}"}


@pytest.mark.parametrize("tool", TOOLS)
def test_names_of_tasks_and_runs_never_leave_the_folder(tool, write_run, tmp_path):
    run = write_run(".. x", [{"id": "a", "task": "..%2f t"}], ("..%2f t",))
    done = CliRunner().invoke(cli, ["export", "logs", str(run), str(tmp_path / "out" / "in"), "--tool", tool])
    assert done.exit_code == 0, done.output
    assert "files written" in done.stderr
    outside = {path.name for path in (tmp_path / "out").iterdir()} - {"in", ".in.lock", "in.lock"}
    assert not {name for name in outside if "lock" not in name}
    assert all(tmp_path / "out" / "in" in path.parents for path in (tmp_path / "out").rglob("*.json*"))


def test_one_ratio_is_exported_alone_and_bad_calls_are_named(write_run, tmp_path):
    run = write_run("two", [{"id": "a", "ratio": 0.2}, {"id": "a", "ratio": "policy"}])
    assert export_logs(run, tmp_path / "all", tool="inspect") == 2
    assert export_logs(run, tmp_path / "one", tool="inspect", ratio="0.2") == 1
    assert list(_read(tmp_path / "one")) == ["two@0.2_sums.json"]
    with pytest.raises(DataError, match="helm: no such tool; choose lm-eval, inspect, evalscope"):
        export_logs(run, tmp_path / "x", tool="helm")
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(DataError, match="file: is a file; name a folder"):
        export_logs(run, tmp_path / "file", tool="inspect")
