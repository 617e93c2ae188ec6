import json
import re
import shutil
import sys

import pytest
from click.testing import CliRunner

from ratio_sft._shared.lock import locked
from ratio_sft._shared.records import read_records
from ratio_sft.cli import cli
from ratio_sft.data.build import build
from ratio_sft.settings import MixSettings


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_build_writes_rows_card_and_rejects(tmp_path, trace, write_lines):
    rows = [trace(number) for number in range(20)] + [trace(20, correct=False)]
    traces = write_lines(tmp_path / "in.jsonl", rows)
    result = run("build", traces, tmp_path / "mix", "--heldout-share", "0.1")
    assert result.exit_code == 0, result.output
    assert "63 rows to train on (9 policy rows, 9 distinct, uninformed targets), 7 held out" in result.stdout
    assert "21 read, 70 written, 1 rejected (incorrect 1)" in result.stderr
    train = list(read_records(tmp_path / "mix" / "train.jsonl", "sft"))
    heldout = list(read_records(tmp_path / "mix" / "heldout.jsonl", "sft"))
    card = json.loads((tmp_path / "mix" / "card.json").read_text())
    assert (len(train), len(heldout)) == (card["counts"]["train"], card["counts"]["heldout"]) == (63, 7)
    assert sum(line["rows"] for line in card["histogram"]) == 63
    assert card["histogram"][0] == {
        "mode": "fixed",
        "ratio": 0.2,
        "rows": 18,
        "mean_achieved_ratio": 0.2,
        "mean_thinking_tokens": 16.0,
    }
    assert card["tokenizer"] == "tiny"
    assert card["rejected_by_reason"] == {"incorrect": 1}
    assert set(card["examples"]) >= {"fixed 0.2", "fixed 0.6", "fixed 1"}
    page = (tmp_path / "mix" / "card.html").read_text()
    assert "21 read, 70 written, 1 rejected (incorrect 1)" in page
    assert "&lt;COMP_20&gt;\n&lt;think&gt;" in page
    assert page.count("<rect") == len(card["histogram"])
    rejected = (tmp_path / "mix" / "mixture.rejected.jsonl").read_text()
    assert json.loads(rejected)["reject_reason"] == "incorrect"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "mix."))] == []


def test_the_same_command_again_does_nothing_and_another_is_refused(tmp_path, compressed):
    out = tmp_path / "mix"
    assert run("build", compressed, out).exit_code == 0
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    again = run("build", compressed, out)
    assert again.exit_code == 0
    assert "already finished" in again.stdout
    other = run("build", compressed, out, "--seed", "1", "--tolerance", "0.04")
    assert other.exit_code == 2
    assert "made with other settings (seed was 0, is 1; tolerance was 0.05, is 0.04); name another" in other.stderr
    assert before == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert run("build", compressed, out, "--seed", "1", "--overwrite").exit_code == 0
    assert json.loads((out / "card.json").read_text())["settings"]["seed"] == 1


def test_a_folder_without_a_manifest_is_never_replaced(tmp_path, compressed):
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "thesis.txt").write_text("x")
    result = run("build", compressed, tmp_path / "mix", "--overwrite")
    assert result.exit_code == 2
    assert "not written by ratio-sft build (no manifest.json); name another output" in result.stderr
    assert (tmp_path / "mix" / "thesis.txt").exists()


def test_a_folder_of_another_program_is_never_replaced(tmp_path, compressed):
    for name, command, message in (
        ("run", "math-eval run", "written by math-eval run, not by ratio-sft build; name another output"),
        ("rl", None, "not a manifest of this toolkit; name another output"),
    ):
        out = tmp_path / name
        out.mkdir()
        (out / "manifest.json").write_text(json.dumps({"command": command, "settings": {}}))
        (out / "samples.jsonl").write_text("x")
        result = run("build", compressed, out, "--overwrite")
        assert result.exit_code == 2
        assert message in result.stderr
        assert (out / "samples.jsonl").exists()


def test_a_build_is_refused_while_another_one_mixes(tmp_path, compressed, monkeypatch):
    module, out = sys.modules["ratio_sft.data.build"], tmp_path / "mix"
    mix, others = module.mix, []

    def mix_slowly(*arguments, **options):
        others.append(run("build", compressed, out, "--overwrite"))
        return mix(*arguments, **options)

    monkeypatch.setattr(module, "mix", mix_slowly)
    assert run("build", compressed, out).exit_code == 0
    assert [(other.exit_code, "mix: another process is writing it" in other.stderr) for other in others] == [(2, True)]
    assert [path.name for path in tmp_path.iterdir()] == ["mix"]


def test_nothing_is_left_of_a_build_that_was_killed_while_it_replaced_another_one(tmp_path, compressed):
    out = tmp_path / "mix"
    assert run("build", compressed, out).exit_code == 0
    shutil.copytree(out, tmp_path / ".mix.old")
    (tmp_path / ".mix.0.lock").touch()
    done = run("build", compressed, out)
    assert (done.exit_code, "already finished" in done.stdout) == (0, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mix"]


def test_what_a_killed_build_left_is_replaced_by_the_same_build_and_a_foreign_partial_is_not(tmp_path, compressed):
    partial = tmp_path / ".mix.partial"
    for more in ([], ["--seed", "3", "--overwrite"]):
        assert run("build", compressed, tmp_path / "killed", "--overwrite").exit_code == 0
        (tmp_path / "killed").rename(partial)
        other = run("build", compressed, tmp_path / "mix", "--seed", "3")
        assert other.exit_code == 2
        assert "an unfinished run with other settings (seed was 0, is 3); finish it" in other.stderr
        assert run("build", compressed, tmp_path / "mix", *more).exit_code == 0
        assert not partial.exists()
        shutil.rmtree(tmp_path / "mix")
    (tmp_path / ".new.partial").mkdir()
    (tmp_path / ".new.partial" / "thesis.txt").write_text("x")
    assert run("build", compressed, tmp_path / "new").exit_code == 2
    assert (tmp_path / ".new.partial" / "thesis.txt").exists()


def test_a_second_build_of_one_folder_is_refused_while_the_first_goes_on(tmp_path, compressed):
    with locked(tmp_path / "mix"):
        result = run("build", compressed, tmp_path / "mix")
    assert (result.exit_code, "mix: another process is writing it" in result.stderr) == (2, True)
    assert run("build", compressed, tmp_path / "mix").exit_code == 0
    assert not (tmp_path / ".mix.lock").exists()


def test_a_teacher_file_sets_the_targets(tmp_path, compressed, write_lines):
    prompt = [{"role": "user", "content": "x <COMP_POLICY>"}]
    fixed = {"answer": "1", "reference_tokens": 80, "reference_accuracy": 1.0, "mode": "policy", "prompt": prompt}
    rows = [{"id": f"p{n}", "teacher_ratio": 0.6 if n % 2 else None, **fixed} for n in range(40)]
    teacher = write_lines(tmp_path / "rl_prompts.jsonl", rows)
    result = run("build", compressed, tmp_path / "mix", "--teacher", teacher)
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "mix" / "card.json").read_text())
    assert card["policy"]["targets"] == "teacher"
    assert [line["ratio"] for line in card["histogram"] if line["mode"] == "policy"] == [0.6]
    assert card["rejected_by_reason"] == {"no_teacher_ratio": 20}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a"\n', "in.jsonl:1: not JSON"),
        ('{"id": "a"}\n', "in.jsonl:1: question: field 'question' is missing"),
        ("", "in.jsonl: no rows"),
        (None, "in.jsonl: no such file"),
    ],
)
def test_a_broken_file_is_one_clear_line_and_leaves_nothing(tmp_path, text, message):
    if text is not None:
        (tmp_path / "in.jsonl").write_text(text)
    result = run("build", tmp_path / "in.jsonl", tmp_path / "mix")
    assert result.exit_code == 2
    *told, error = result.stderr.splitlines()
    assert message in error
    assert all(line.startswith("thinking format: ") for line in told)
    assert not list(tmp_path.glob("mix*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ratio", "20"], "error: ratio must be in [0, 1]; got 20"),
        (["--ratio", "0.35"], "no trace has ratio 0.35"),
        (["--policy-share", "1"], "error: policy_share must be in [0, 1); got 1"),
        (["--policy-quota", "0.2"], "Invalid value for '--policy-quota': '0.2' is not RATIO=NUMBER, such as 0.2=2"),
    ],
)
def test_options_out_of_range_end_with_exit_code_2(tmp_path, compressed, arguments, message):
    result = run("build", compressed, tmp_path / "mix", *arguments)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


def test_help_shows_an_example_on_every_level_with_each_command_on_a_line():
    for arguments in (["--help"], ["build", "--help"], ["train", "--help"]):
        text = run(*arguments).stdout
        assert re.search(r"^ *Examples?:\n +(ratio-sft|accelerate) ", text, re.MULTILINE), text


def test_the_thinking_format_is_told_once_before_the_work_and_not_without_any(tmp_path, trace, write_lines):
    traces, out, told = write_lines(tmp_path / "in.jsonl", [trace(number) for number in range(4)]), tmp_path / "mix", []

    def tell(line):
        told.append(line)
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []

    for _ in range(2):
        build(traces, out, MixSettings(heldout_share=0, thinking_format="thought"), notify=tell)
    assert told == ["thinking format: <thought> … </thought>, opened by the model"]
