import json
import shutil
import subprocess
import sys
import tracemalloc

import pytest
from click.testing import CliRunner

from math_eval._shared.lock import locked
from math_eval.cli import cli
from math_eval.compare import compare
from math_eval.grade import grade_file, grade_run
from math_eval.run_folders import load_condition

ROWS = [
    {"id": "a", "gold": r"\frac{1}{2}", "completion": r"\boxed{0.5}", "note": "kept"},
    {"id": "b", "gold": "4", "completion": "The answer is 5."},
    {"id": "c", "gold": "x+1", "completion": r"<think>t</think> \boxed{1+x}"},
]


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_rows_come_back_with_answers_and_verdicts(tmp_path):
    source, out = _write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    done = CliRunner().invoke(cli, ["grade", str(source), str(out)])
    assert (done.exit_code, done.stdout) == (0, "correct 2, incorrect 1\n")
    graded = _read(out)
    assert [(row["verdict"], row["extracted"]) for row in graded] == [
        ("correct", "0.5"), ("incorrect", "5"), ("correct", "1+x")
    ]  # fmt: skip
    assert graded[0]["note"] == "kept"
    again = CliRunner().invoke(cli, ["grade", str(source), str(out)])
    assert (again.exit_code, "nothing to do" in again.stderr) == (0, True)
    other = _write(tmp_path / "other.jsonl", ROWS[:1])
    refused = CliRunner().invoke(cli, ["grade", str(other), str(out)])
    assert (refused.exit_code, "input_sha256" in refused.stderr) == (2, True)
    assert CliRunner().invoke(cli, ["grade", str(other), str(out), "--overwrite"]).exit_code == 0
    assert len(_read(out)) == 1


def test_an_interrupted_file_is_continued_after_its_last_whole_row(tmp_path):
    source, out = _write(tmp_path / "in.jsonl", ROWS[:2] * 3), tmp_path / "out.jsonl"
    partial = tmp_path / ".out.jsonl.partial"
    grade_file(source, out)
    whole = _read(out)
    out.unlink()
    marked = [{**row, "grade_ms": 12345.0} for row in whole[:3]]
    partial.write_text("".join(json.dumps(row) + "\n" for row in marked) + '{"id": "a", "go', "utf-8")
    grade_file(source, out)
    assert [row["verdict"] for row in _read(out)] == [row["verdict"] for row in whole]
    assert [row["grade_ms"] == 12345.0 for row in _read(out)] == [True] * 3 + [False] * 3
    assert not partial.exists()


def test_nothing_is_left_of_a_grading_that_was_killed_at_its_end(tmp_path):
    source, out = _write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    grade_file(source, out)
    done = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    shutil.copy(out, tmp_path / ".out.jsonl.partial")
    (tmp_path / ".out.jsonl.0.lock").touch()
    assert grade_file(source, out)[1]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == done


def test_the_extraction_is_chosen_by_an_option_and_kept_in_the_manifest(tmp_path):
    rows = [{"id": "a", "gold": "1", "completion": r"<think>\boxed{1}</think> \boxed{2}"}]
    source, out = _write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    done = CliRunner().invoke(cli, ["grade", str(source), str(out), "--extraction", "reference"])
    assert (done.exit_code, done.stdout) == (0, "correct 1\n")
    refused = CliRunner().invoke(cli, ["grade", str(source), str(out)])
    assert (refused.exit_code, "grader" in refused.stderr) == (2, True)
    unknown = CliRunner().invoke(cli, ["grade", str(source), str(out), "--extraction", "first"])
    assert (unknown.exit_code, "'standard', 'reference'" in unknown.stderr) == (2, True)


def test_two_processes_cannot_grade_into_one_file(tmp_path):
    source, out = _write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    with locked(out):
        refused = CliRunner().invoke(cli, ["grade", str(source), str(out)])
    assert (refused.exit_code, "out.jsonl: another process is writing it" in refused.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_rows_too_many_are_never_published(tmp_path):
    source, out = _write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    grade_file(source, out)
    graded = _read(out)
    out.unlink()
    _write(tmp_path / ".out.jsonl.partial", graded * 2)
    failed = CliRunner().invoke(cli, ["grade", str(source), str(out)])
    assert (failed.exit_code, ".out.jsonl.partial: 6 rows of 3; remove that file" in failed.stderr) == (1, True)
    assert not out.exists()
    (tmp_path / ".out.jsonl.partial").unlink()
    assert grade_file(source, out)[0].total() == 3


def test_a_bad_row_is_named_and_nothing_is_written(tmp_path):
    source, out = _write(tmp_path / "in.jsonl", [*ROWS, {"id": "d", "gold": 4, "completion": ""}]), tmp_path / "o.jsonl"
    refused = CliRunner().invoke(cli, ["grade", str(source), str(out)])
    assert (refused.exit_code, "in.jsonl:4: gold: got 4" in refused.stderr) == (2, True)
    assert not out.exists()


def test_a_long_file_is_never_in_memory_whole(tmp_path):
    row = {"id": "a", "gold": "4", "completion": 4000 * " " + r"\boxed{4}"}
    source = _write(tmp_path / "in.jsonl", [row] * 2500)
    tracemalloc.start()
    grade_file(source, tmp_path / "out.jsonl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2500 * 4000 * 0.6


def test_the_input_is_never_its_own_output(tmp_path, write_run):
    source, run = _write(tmp_path / "in.jsonl", ROWS), write_run("base", [{"id": "a"}])
    partial = _write(tmp_path / ".out.jsonl.partial", ROWS)
    for path, out in ((source, source), (run, run), (partial, tmp_path / "out.jsonl")):
        refused = CliRunner().invoke(cli, ["grade", str(path), str(out), "--overwrite"])
        assert (refused.exit_code, "which is read; name another output" in refused.stderr) == (2, True)
    assert _read(source) == _read(partial) == ROWS
    assert (run / "results.json").exists()


def test_a_file_that_it_did_not_write_and_a_folder_are_never_replaced(tmp_path):
    source = _write(tmp_path / "in.jsonl", ROWS)
    foreign, folder = _write(tmp_path / "out.jsonl", ROWS), tmp_path / "folder"
    folder.mkdir()
    for out, message in ((foreign, "not written by math-eval grade"), (folder, "is a folder; name a file")):
        refused = CliRunner().invoke(cli, ["grade", str(source), str(out), "--overwrite"])
        assert (refused.exit_code, message in refused.stderr) == (2, True)
    assert _read(foreign) == ROWS


def test_a_run_is_graded_again_into_a_run_of_its_own(tmp_path, write_run):
    completion = r"<think>\boxed{1}</think> \boxed{3}"
    rows = [{"id": name, "task": task, "completion": completion} for task in ("sums", "more") for name in "ab"]
    run, out = write_run("base", rows, ("sums", "more")), tmp_path / "again"
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    command = ["grade", str(run), str(out), "--extraction", "reference"]
    done = CliRunner().invoke(cli, command)
    assert (done.exit_code, done.stdout) == (0, "incorrect 4\n")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert [row["extracted"] for row in _read(out / "samples_more.jsonl")] == ["1", "1"]
    assert compare(load_condition(str(run)), load_condition(str(out))).values["only_a_correct"] == 4
    settings = json.loads((out / "manifest.json").read_text("utf-8"))["settings"]
    assert (settings["seeds"], settings["grader"]["extraction"]) == ([0], "reference")
    again = CliRunner().invoke(cli, command)
    assert (again.exit_code, again.stdout, "nothing to do" in again.stderr) == (0, "incorrect 4\n", True)
    refused = CliRunner().invoke(cli, command[:3])
    assert (refused.exit_code, "grader.extraction was 'reference'" in refused.stderr) == (2, True)
    other = write_run("other", [{**row, "latency_s": 9.0} for row in rows], ("sums", "more"))
    refused = CliRunner().invoke(cli, ["grade", str(other), *command[2:]])
    assert (refused.exit_code, "samples_sha256 was" in refused.stderr) == (2, True)


def test_a_run_of_an_older_version_gets_the_places_of_its_first_correct_statements(tmp_path, write_run):
    completions = ["<think> So 1 + 2 = 3. Wait, so 3. </think> 3", "<think> Hmm </think> 3", r"\boxed{3}"]
    run = write_run("base", [{"id": str(index), "completion": text} for index, text in enumerate(completions)])
    grade_run(run, tmp_path / "again")
    found = [
        (row["thinking_chars"], row["first_correct_chars"]) for row in _read(tmp_path / "again/samples_sums.jsonl")
    ]
    assert found == [(len("So 1 + 2 = 3. Wait, so 3."), len("So 1 + 2 = 3.")), (3, None), (0, None)]


def test_an_interrupted_grading_of_a_run_keeps_the_tasks_it_finished(tmp_path, write_run):
    rows = [{"id": "a", "task": task} for task in ("sums", "more")]
    run, out = write_run("base", rows, ("sums", "more")), tmp_path / "again"
    grade_run(run, out)
    whole = (out / "results.json").read_bytes()
    for name in ("results.json", "samples_more.jsonl"):
        (out / name).unlink()
    finished = (out / "samples_sums.jsonl").stat().st_mtime_ns
    assert grade_run(run, out) == ({"correct": 2}, False)
    assert (out / "samples_sums.jsonl").stat().st_mtime_ns == finished
    assert (out / "results.json").read_bytes() == whole


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_change_no_output(tmp_path, closed):
    source, out = _write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    grade_file(source, tmp_path / "whole.jsonl")
    code = "from math_eval.cli import cli; cli()"
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", code, "grade", source, out])
    assert done.returncode == 0
    assert [row["verdict"] for row in _read(out)] == [row["verdict"] for row in _read(tmp_path / "whole.jsonl")]
