"""Shards of completions on a local Ray cluster of two workers, one of which is killed: graded as in one process."""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from math_eval._shared.ray_shards import ShardJob
from math_eval._shared.records import read_json
from math_eval._shared.row_layout import layout_of
from math_eval._shared.row_source import RowSource
from math_eval._shared.thinking import THINK
from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.grade import grade_file, is_run
from math_eval.grade_shards import _ShardGrading, grade_shards

ray = pytest.importorskip("ray", reason="needs cot-math-eval[ray]")
pytestmark = pytest.mark.enable_socket
COLUMNS, MESSAGES = "gold=solution", "messages"
NAMES = [f"part-{number}.parquet" for number in range(4)]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def corpus(tmp_path):
    """Four shards, the last one without rows: right and wrong answers, some that need algebra, and one misfit."""
    rows = []
    for number in range(24):
        box = f"{number}x + {number}x" if number % 3 == 0 else f"{number + number % 2}"
        completion = f"<think>\nadd\n</think>\n\nIt is $\\boxed{{{box}}}$."
        turns = [{"role": "user", "content": "How much?"}, {"role": "assistant", "content": completion}]
        rows.append({"messages": turns, "solution": f"{2 * number}x" if number % 3 == 0 else f"{number}"})
    rows[5]["messages"] = rows[5]["messages"][:1]
    folder = tmp_path / "corpus"
    folder.mkdir()
    schema = pa.Table.from_pylist(rows).schema
    for number, name in enumerate(NAMES):
        some = rows[8 * number : 8 * number + 8]
        pq.write_table(pa.Table.from_pylist(some, schema=schema), folder / name)
    return folder


class KilledOnce(_ShardGrading):
    """Is killed between the end of the second shard and its report."""

    def __init__(self, marker, layout):
        super().__init__("standard", "default", THINK, layout, False)
        self._marker = marker

    def __call__(self, shard, out):
        counts = super().__call__(shard, out)
        if Path(shard).name == NAMES[1] and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return counts


def graded(out):
    rows = RowSource(out, "graded", is_part=True).rows()
    return [{name: value for name, value in row.items() if name != "grade_ms"} for row in rows]


def test_shards_are_graded_as_in_one_process_although_a_worker_is_killed(corpus, tmp_path):
    layout = layout_of(COLUMNS, MESSAGES)
    out, one = tmp_path / "graded", tmp_path / "one.parquet"
    job = ShardJob("math-eval grade", corpus, out, partial(KilledOnce, tmp_path / "killed", layout))
    report = job.run(workers=2, gpu=False, notify=print)
    assert (tmp_path / "killed").exists()
    counts, _ = grade_file(corpus, one, layout=layout)
    assert counts == {"correct": 16, "incorrect": 7, "rejected": 1}
    assert report.kinds == {"correct": 16, "incorrect": 7}
    assert report.tally.summary() == "24 read, 23 written, 1 rejected (other_turns 1)"
    assert graded(out) == graded(one)
    assert (out / "part-0.rejected.jsonl").read_text() == (tmp_path / "one.rejected.jsonl").read_text()
    assert read_json(out / "manifest.json")["rows"]["kinds"] == {"correct": 16, "incorrect": 7}
    assert not is_run(out)

    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    (out / NAMES[2]).unlink()
    command = ["grade", corpus, out, "--columns", COLUMNS, "--messages", MESSAGES, "--engine", "ray", "--explain"]
    done = CliRunner().invoke(cli, list(map(str, command)))
    assert done.exit_code == 0, done.output
    assert "correct 16, incorrect 7" in done.stdout
    assert "24 read, 23 written" in done.output
    assert {name for name in before if (out / name).stat().st_mtime_ns != before[name]} == {NAMES[2]}
    assert graded(out) == graded(one)


def test_a_bad_shard_is_named_and_the_others_are_graded(corpus, tmp_path):
    out, faults = tmp_path / "graded", []
    (corpus / "part-4.jsonl").write_text(json.dumps({"messages": 1, "solution": "1"}) + '\n{"mess')
    with pytest.raises(DataError, match="1 of 5 shards failed; repeat the command for them"):
        grade_shards(corpus, out, layout=layout_of(COLUMNS, MESSAGES), workers=2, notify=faults.append)
    assert [fault.partition(": ")[0] for fault in faults[1:]] == ["part-4.jsonl"]
    assert sorted(path.name for path in out.glob("*.parquet")) == NAMES


def test_wrong_choices_are_refused_before_a_worker_starts(corpus, tmp_path):
    with pytest.raises(DataError, match="policy must be one of"):
        grade_shards(corpus, tmp_path / "out", policy="kind", notify=print)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "samples_t.jsonl").touch()
    refused = CliRunner().invoke(cli, ["grade", str(tmp_path / "run"), str(tmp_path / "out"), "--engine", "ray"])
    assert refused.exit_code == 2
    assert "without --columns, --messages and --engine" in refused.output
    refused = CliRunner().invoke(cli, ["grade", str(corpus), str(tmp_path / "out.jsonl"), "--workers", "2"])
    assert refused.exit_code == 2
    assert "--workers is for --engine ray" in refused.output


def test_a_corpus_of_which_no_row_fits_is_refused_as_in_one_process(corpus, tmp_path):
    layout = layout_of("gold=solution,completion:=0", None)
    for grade in (partial(grade_shards, workers=1), grade_file):
        with pytest.raises(DataError, match="no row fits"):
            grade(corpus, tmp_path / f"out{len(list(tmp_path.iterdir()))}", layout=layout, notify=print)
