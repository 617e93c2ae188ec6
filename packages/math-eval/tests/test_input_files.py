"""Inputs of other programs: a UTF-8 byte order mark is read; UTF-16 and JSON arrays are named with what to do."""

import gzip
import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from math_eval._shared.records import read_records
from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.input_files import check_json_lines
from math_eval.tasks.files import read_problems, read_task_file

ROWS = [{"id": str(n), "question": "q", "answer": "1", "gold": "1", "completion": "1"} for n in range(300)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def test_json_lines_pass_packed_or_not(tmp_path):
    for name, content in (("a.jsonl", LINES.encode()), ("a.jsonl.gz", gzip.compress(LINES.encode())), ("e", b"")):
        (tmp_path / name).write_bytes(content)
        check_json_lines(tmp_path / name)
    check_json_lines(tmp_path / "missing")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_in_utf_16_is_named(tmp_path, pack):
    path = tmp_path / ("in.jsonl.gz" if pack is gzip.compress else "in.jsonl")
    path.write_bytes(pack(LINES.encode("utf-16")))
    with pytest.raises(DataError, match=r"in\.jsonl.*begins with a UTF-16 byte order mark; save it as UTF-8 without"):
        check_json_lines(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_utf_8_byte_order_mark_changes_nothing(tmp_path, pack):
    marked, plain = (tmp_path / f"{name}.jsonl{'.gz' if pack is gzip.compress else ''}" for name in ("marked", "plain"))
    marked.write_bytes(pack(LINES.encode("utf-8-sig")))
    plain.write_bytes(pack(LINES.encode()))
    assert read_problems(marked, 3)[1] == read_problems(plain, 3)[1] == [*read_records(plain, "problems")][:3]
    task = tmp_path / "task.toml"
    task.write_text(f'problems = "{marked.name}"\nfields = {{question = "question", answer = "answer"}}\n', "utf-8-sig")
    assert [row["answer"] for row in read_task_file(task, 2)[1]] == ["1", "1"]
    graded = CliRunner().invoke(cli, ["grade", str(marked), str(tmp_path / "out.jsonl")])
    assert (graded.exit_code, "correct 300" in graded.output) == (0, True), graded.output


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_one_short_line_with_the_command_that_converts_it(tmp_path, indent):
    array = tmp_path / "my rows.json"
    array.write_text("\n " + json.dumps(ROWS, indent=indent), "utf-8")
    task = tmp_path / "task.toml"
    task.write_text('problems = "my rows.json"\nfields = {question = "question", answer = "answer"}\n', "utf-8")
    commands = [
        ["grade", str(array), str(tmp_path / "out.jsonl")],
        *(
            [
                "run",
                "--model",
                "openai:m",
                "--base-url",
                "http://127.0.0.1:9/v1",
                "--tasks",
                str(tasks),
                "--output-dir",
                "r",
            ]
            for tasks in (array, task)
        ),
    ]
    for command in commands:
        refused = CliRunner().invoke(cli, command)
        assert (refused.exit_code, "one JSON array; expected JSON Lines" in refused.stderr) == (2, True), refused.output
        assert len(refused.stderr) < 600
    if shutil.which("jq"):
        subprocess.run(["sh", "-c", refused.stderr.split("convert it: ")[1].split(", as ")[0]], check=True)
        check_json_lines(tmp_path / "my rows.lines.jsonl")
