"""Completions in Parquet, in folders of shards and in conversations are graded as in JSON Lines."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from math_eval._shared.records import read_records, write_records
from math_eval._shared.row_files import Shard
from math_eval.cli import cli

ROWS = [
    {"id": "a", "gold": r"\frac{1}{2}", "completion": r"\boxed{0.5}", "note": "kept"},
    {"id": "b", "gold": "4", "completion": "The answer is 5.", "note": "kept"},
    {"id": "c", "gold": "x+1", "completion": r"<think>t</think> \boxed{1+x}", "note": "kept"},
    {"id": "d", "gold": "3", "completion": "", "note": "kept"},
]


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in ("grade", *arguments)])


def verdicts(path):
    return [{name: value for name, value in row.items() if name != "grade_ms"} for row in read_records(path, "graded")]


def test_shards_of_parquet_are_graded_as_json_lines(tmp_path):
    write_records(tmp_path / "in.jsonl", ROWS)
    for name, some in (("a", ROWS[:1]), ("b", ROWS[1:])):
        write_records(tmp_path / f"shards/{name}.parquet", some)
    for source, out in (("in.jsonl", "out.jsonl"), ("shards", "out.parquet"), ("shards", "out.jsonl.zst")):
        done = run(tmp_path / source, tmp_path / out)
        assert (done.exit_code, done.stdout) == (0, "correct 2, incorrect 1, no_answer 1\n"), done.output
    assert (
        verdicts(tmp_path / "out.parquet") == verdicts(tmp_path / "out.jsonl") == verdicts(tmp_path / "out.jsonl.zst")
    )
    again = run(tmp_path / "in.jsonl", tmp_path / "out.parquet", "--explain")
    assert "already complete, nothing to do" in again.stderr
    assert "d: no_answer" in again.stdout


def test_conversations_are_graded_and_what_does_not_fit_is_rejected(tmp_path):
    talks = [
        [{"role": "user", "content": "1 / 2?"}, {"role": "assistant", "content": r"<think>half</think>\boxed{0.5}"}],
        [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": r"\boxed{5}"}],
        [{"role": "user", "content": "2 + 2?"}],
    ]
    rows = [{"messages": talk, "answer": gold} for talk, gold in zip(talks, ("1/2", "4", "4"), strict=True)]
    pq.write_table(pa.Table.from_pylist([*rows, {"messages": talks[0], "answer": None}]), tmp_path / "in.parquet")
    options = ["--messages", "messages", "--columns", "gold=answer"]
    done = run(tmp_path / "in.parquet", tmp_path / "out.parquet", *options)
    assert (done.exit_code, done.stdout) == (0, "rejected 2, correct 1, incorrect 1\n"), done.output
    graded = verdicts(tmp_path / "out.parquet")
    assert [(row["id"], row["question"], row["verdict"]) for row in graded] == [
        ("in.parquet:1", "1 / 2?", "correct"),
        ("in.parquet:2", "2 + 2?", "incorrect"),
    ]
    rejected = [json.loads(line) for line in (tmp_path / "out.rejected.jsonl").read_text("utf-8").splitlines()]
    assert [(row["reject_reason"], row["reject_detail"].partition(": ")[0]) for row in rejected] == [
        ("other_turns", f"{tmp_path}/in.parquet:3"),
        ("does_not_fit", f"{tmp_path}/in.parquet:4"),
    ]
    again = run(tmp_path / "in.parquet", tmp_path / "out.parquet", *options)
    assert (again.stdout, "nothing to do" in again.stderr) == ("rejected 2, correct 1, incorrect 1\n", True)
    other = run(tmp_path / "in.parquet", tmp_path / "out.parquet", "--columns", "gold=answer,completion=answer")
    assert (other.exit_code, "made with other settings" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "/b.parquet: unreadable ("),
        (lambda path: write_records(path, [{**ROWS[1], "gold": 4}]), "/b.parquet: column 'gold' is int64, and "),
        (
            lambda path: write_records(path, [{**ROWS[1], "gold": ""}, {"id": "e"}]),
            "/b.parquet:2: ",
        ),
    ],
)
def test_a_faulty_shard_stops_grading_before_anything_is_written(tmp_path, change, message):
    for name, some in (("a", ROWS[:1]), ("b", ROWS[1:])):
        write_records(tmp_path / f"shards/{name}.parquet", some)
    change(tmp_path / "shards/b.parquet")
    done = run(tmp_path / "shards", tmp_path / "out.parquet")
    assert done.exit_code == 2
    assert f"error: {tmp_path}/shards{message}" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


@pytest.mark.parametrize("source", ["corpus", "corpus/*.jsonl"])
def test_an_output_among_the_shards_is_refused(tmp_path, source):
    (tmp_path / "corpus").mkdir()
    write_records(tmp_path / "corpus/a.jsonl", [{"id": "a", "gold": "3", "completion": "3"}])
    done = run(tmp_path / source, tmp_path / "corpus/z.jsonl")
    assert (done.exit_code, "would become a shard of" in done.stderr) == (2, True)
    assert [path.name for path in (tmp_path / "corpus").iterdir()] == ["a.jsonl"]


def test_rejected_rows_are_never_written_over_the_input(tmp_path):
    source = tmp_path / "z.rejected.jsonl"
    write_records(source, [{"id": "a", "gold": "3", "completion": "3"}])
    done = run(source, tmp_path / "z.jsonl")
    assert (done.exit_code, "would replace" in done.stderr) == (2, True)
    assert source.is_file()


def test_the_input_is_read_once_before_anything_is_written_and_once_to_be_graded(tmp_path, monkeypatch):
    source, out, reads, values = tmp_path / "in.jsonl", tmp_path / "out.jsonl", [], Shard.values
    write_records(source, [{"solution": "1", "completion": "1"}, {"solution": "2", "completion": 3}])
    monkeypatch.setattr(Shard, "values", lambda shard: reads.append(shard.file.name) or values(shard))
    for count in (2, 3):
        done = run(source, out, "--columns", "gold=solution")
        assert (done.exit_code, reads.count("in.jsonl")) == (0, count), done.output
    assert [row["id"] for row in verdicts(out)] == ["in.jsonl:1"]


@pytest.mark.parametrize("left", [0, 1])
def test_a_finished_output_that_lost_rows_is_not_taken_for_a_whole_one(tmp_path, left):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_records(source, ROWS)
    assert run(source, out).exit_code == 0
    whole = out.read_text("utf-8")
    out.write_text("".join(whole.splitlines(keepends=True)[:left]), "utf-8")
    failed = run(source, out)
    assert failed.exit_code == 2
    assert f"{left} rows of 4, so it was changed since it was written; remove it" in failed.output
    out.unlink()
    assert run(source, out).exit_code == 0
    assert len(verdicts(out)) == 4
