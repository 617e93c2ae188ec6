"""Compressed traces in Parquet and in folders of shards give the mixture that JSON Lines give."""

import json
import re

import pytest
from click.testing import CliRunner

from ratio_sft._shared.records import read_records, write_records
from ratio_sft.cli import cli
from ratio_sft.data.row_file import RowFile


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_shards_in_every_format_are_mixed_as_one_file_of_json_lines(tmp_path, compressed):
    rows = list(read_records(compressed, "compressed"))
    for name, some in {"a.parquet": rows[:4], "b.jsonl.zst": rows[4:7], "c.parquet": rows[7:]}.items():
        write_records(tmp_path / "shards" / name, some)
    write_records(tmp_path / "all.parquet", rows)
    expected = run("build", compressed, tmp_path / "plain")
    assert expected.exit_code == 0, expected.output
    for source in ("shards", "all.parquet"):
        done = run("build", tmp_path / source, tmp_path / f"mix-{source}")
        assert done.exit_code == 0, done.output
        for name in ("train.jsonl", "heldout.jsonl", "card.json"):
            assert (tmp_path / f"mix-{source}" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    again = run("build", tmp_path / "shards", tmp_path / "mix-shards")
    assert "already finished" in again.stdout
    write_records(tmp_path / "shards/c.parquet", rows[8:])
    changed = run("build", tmp_path / "shards", tmp_path / "mix-shards")
    assert (changed.exit_code, "made with other settings (traces was " in changed.stderr) == (2, True)


@pytest.mark.parametrize("first", ["a.parquet", "a.jsonl"])
def test_a_row_of_a_shard_has_its_place(tmp_path, compressed, first):
    rows = list(read_records(compressed, "compressed"))[:5]
    write_records(tmp_path / "shards" / first, rows[:2])
    (tmp_path / "shards/aa.jsonl").touch()
    (tmp_path / "shards/b.jsonl").write_text("\n" + "".join(json.dumps(row) + "\n\n" for row in rows[2:]))
    found = RowFile(tmp_path / "shards", "compressed")
    assert [found[number]["id"] for number in (4, 0, 3, 1, 2)] == [rows[number]["id"] for number in (4, 0, 3, 1, 2)]
    names = [f"{first}:1", f"{first}:2", "b.jsonl:2", "b.jsonl:4", "b.jsonl:6"]
    assert [found.where(number) for number in range(5)] == [f"{tmp_path}/shards/{name}" for name in names]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda path, rows: write_records(path, rows[:1]),
            r"/b\.parquet:1: id '.*', sample 0, model '.*' appears twice",
        ),
        (lambda path, rows: path.write_bytes(path.read_bytes()[:-20]), r"/b\.parquet: unreadable \("),
        (lambda path, rows: write_records(path, [{**rows[1], "cot": 5}]), r"/b\.parquet:1: cot: got 5; expected"),
        (
            lambda path, rows: write_records(path, [{"id": "a"}]),
            r"/b\.parquet:1: question: field 'question' is missing",
        ),
    ],
)
def test_a_faulty_shard_stops_build_before_anything_is_written(tmp_path, compressed, change, message):
    rows = list(read_records(compressed, "compressed"))
    for name, some in (("a", rows[:1]), ("b", rows[1:])):
        write_records(tmp_path / f"shards/{name}.parquet", some)
    change(tmp_path / "shards/b.parquet", rows)
    done = run("build", tmp_path / "shards", tmp_path / "mix")
    assert done.exit_code == 2
    assert re.search(f"^error: {re.escape(str(tmp_path))}/shards{message}", done.stderr, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_an_output_that_would_be_among_the_shards_is_refused(tmp_path, compressed):
    write_records(tmp_path / "corpus/a.jsonl", read_records(compressed, "compressed"))
    done = run("build", tmp_path / "corpus", tmp_path / "corpus/mix.jsonl")
    assert (done.exit_code, "would become a shard of" in done.stderr) == (2, True)
    assert [path.name for path in (tmp_path / "corpus").iterdir()] == ["a.jsonl"]
