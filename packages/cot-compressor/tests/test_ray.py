"""The shards of a corpus on a local Ray cluster of two workers, some of which are killed: as one process makes them."""

import json
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cot_compressor import Layout, compress_file
from cot_compressor._shared.ray_shards import ShardJob
from cot_compressor._shared.records import Row, read_json, read_records
from cot_compressor.cli import cli
from cot_compressor.compress import compress_conversion
from cot_compressor.errors import DataError
from cot_compressor.evaluation import evaluate as evaluation

ray = pytest.importorskip("ray", reason="needs cot-compressor[ray]")
pytestmark = pytest.mark.enable_socket
LAYOUT = Layout(columns={"answer": "solution"}, messages="messages")
NAMES = [f"part-{number}.parquet" for number in range(5)]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Any:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def corpus(tmp_path: Path, toy_traces: list[Row]) -> Path:
    """Five shards: the last one is empty, and two rows are rejected for different reasons."""
    rows = []
    for trace in toy_traces:
        answer = f"<think>\n{trace['cot']}\n</think>\n\n{trace['response']}"
        messages = [{"role": "user", "content": trace["question"]}, {"role": "assistant", "content": answer}]
        rows.append({"messages": messages, "solution": trace["answer"], "source": {"name": "toy", "level": None}})
    rows[6]["messages"][1]["content"] = "no thinking"
    rows[7]["messages"][1]["content"] = "<think>\n1 + 1 = 2 2 3 4\n</think>\n\n2"
    folder = tmp_path / "corpus"
    folder.mkdir()
    schema = pa.Table.from_pylist(rows).schema
    for number, name in enumerate(NAMES):
        some = rows[number::4] if number < 4 else []
        pq.write_table(pa.Table.from_pylist(some, schema=schema), folder / name)
    return folder


@pytest.fixture
def options(tokenizer_folder: Path) -> Row:
    return {"ratios": [0.1], "scorer": "rules", "tokenizer": tokenizer_folder, "layout": LAYOUT}


class KilledTwice:
    """Is killed once before it makes a shard, and once between the end of a shard and its report."""

    def __init__(self, markers: Path, **options: Any) -> None:
        self._conversion, self._markers = compress_conversion(**options), markers

    def __call__(self, shard: str, out: str) -> Row:
        self._die_at(shard, "part-1")
        counts = self._conversion(shard, out)
        self._die_at(shard, "part-2")
        with (self._markers / "made").open("a") as made:
            made.write(f"{os.getpid()} {Path(out).name}\n")
        return counts

    def _die_at(self, shard: str, name: str) -> None:
        marker = self._markers / name
        if Path(shard).stem == name and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Elsewhere:
    """Writes to a folder that only its own machine has."""

    def __call__(self, shard: str, out: str) -> Row:
        return {"read": 1, "written": 1, "rejected": {}}


class OutOfMemory:
    """Fails at one shard with an error that no command expects."""

    def __call__(self, shard: str, out: str) -> Row:
        if Path(shard).name == NAMES[1]:
            raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")
        Path(out).touch()
        return {"read": 1, "written": 1, "rejected": {}}


class OnAnotherMachine:
    """Needs a folder that its own machine does not have."""

    def __init__(self) -> None:
        raise DataError("models/compressor: no such folder")

    def __call__(self, shard: str, out: str) -> Row:
        raise NotImplementedError


def compressed(file: Path) -> list[Row]:
    return list(read_records(file, "compress_input"))


def lines(*files: Path) -> list[Row]:
    return [json.loads(line) for file in files if file.exists() for line in file.read_text("utf-8").splitlines()]


def run(corpus: Path, out: Path, tokenizer: Path) -> Result:
    command = [
        "compress", corpus, out, "--ratio", 0.1, "--tokenizer", tokenizer, "--messages", "messages", "--columns",
        "answer=solution", "--engine", "ray", "--workers", 2,
    ]  # fmt: skip
    return CliRunner().invoke(cli, list(map(str, command)))


def test_shards_are_those_of_one_process_although_workers_are_killed(
    corpus: Path, options: Row, tokenizer_folder: Path, tmp_path: Path
) -> None:
    out, markers = tmp_path / "short", tmp_path / "markers"
    markers.mkdir()
    job = ShardJob("cot-compressor compress", corpus, out, partial(KilledTwice, markers, **options))
    report = job.run(workers=2, gpu=False, notify=print)
    made = [line.split() for line in (markers / "made").read_text().splitlines()]
    assert sorted(name for _, name in made) == NAMES
    assert sorted(path.name for path in markers.iterdir()) == ["made", "part-1", "part-2"]

    one = tmp_path / "one.parquet"
    tally = compress_file(corpus, one, **options)
    assert tally is not None
    assert compressed(out) == compressed(one)
    rejected = [out / f"{Path(name).stem}.rejected.jsonl" for name in NAMES]
    assert lines(*rejected) == lines(tmp_path / "one.rejected.jsonl")
    assert (report.tally.read, report.tally.written, report.tally.reasons) == (tally.read, tally.written, tally.reasons)
    assert len(tally.reasons) == 2
    manifest = read_json(out / "manifest.json")
    assert manifest["rows"] == {"read": 60, "written": tally.written, "rejected": tally.reasons}
    assert manifest["slowest"]["shard"] in NAMES

    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != "manifest.json"}
    (out / "part-3.parquet").unlink()
    done = run(corpus, out, tokenizer_folder)
    assert done.exit_code == 0, done.output
    assert f"60 read, {tally.written} written" in done.output
    seconds, rate = map(float, re.findall(r"shards in ([\d.]+) s, ([\d.]+) rows/s", done.output)[0])
    assert seconds * rate < 40  # of the 15 rows of part-3 alone
    after = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != "manifest.json"}
    assert {name for name in after if after[name] != before[name]} <= {
        "part-3.parquet", "part-3.parquet.manifest.json", "part-3.rejected.jsonl",
    }  # fmt: skip
    assert compressed(out) == compressed(one)


def test_annotations_of_shards_are_those_of_one_process(corpus: Path, tmp_path: Path) -> None:
    columns = 'answer=solution,model:="R1",correct:=true,sample:=0'
    command = ["annotate", corpus, "--annotator", "rules", "--messages", "messages", "--columns", columns]

    def annotated(out: Path, *more: str) -> list[Row]:
        done = CliRunner().invoke(cli, [*map(str, [*command, out]), *more])
        assert done.exit_code == 0, done.output
        return list(read_records(out, "annotated"))

    rows = annotated(tmp_path / "shards", "--engine", "ray", "--workers", "2")
    assert rows == annotated(tmp_path / "one.parquet")
    assert len(rows) == 58
    asked = CliRunner().invoke(
        cli, ["annotate", str(corpus), str(tmp_path / "x"), "--annotator", "openai", "--engine", "ray"]
    )
    assert asked.exit_code == 2
    assert "repeat --base-url" in asked.output


def test_a_report_about_shards_is_that_of_one_process(corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    options = ["--ratio", "0.2", "--tokenizer", str(tokenizer_folder), "--messages", "messages"]

    def evaluated(out: Path, *more: str) -> tuple[str, Row, str]:
        done = CliRunner().invoke(cli, ["evaluate", str(corpus), str(out), *options, *more])
        assert done.exit_code == 0, done.output
        return done.output.partition("ratio ")[2], read_json(out / "report.json"), (out / "report.html").read_text()

    spread = ("--engine", "ray", "--workers", "2")
    table, *report = evaluated(tmp_path / "shards", *spread)
    one_table, *one_report = evaluated(tmp_path / "one")
    assert report == one_report
    assert table.splitlines()[:-1] == one_table.splitlines()[:-1]
    assert "60 read, 58 written, 2 rejected" in table
    assert read_json(tmp_path / "shards/metrics/manifest.json")["rows"]["written"] == 58
    before = (tmp_path / "shards/metrics/part-0.parquet").stat().st_mtime_ns
    (tmp_path / "shards/metrics/part-1.parquet").unlink()
    assert evaluated(tmp_path / "shards", *spread)[0] == ""
    (tmp_path / "shards/report.json").unlink()
    assert evaluated(tmp_path / "shards", *spread)[1:] == tuple(one_report)
    assert (tmp_path / "shards/metrics/part-0.parquet").stat().st_mtime_ns == before


def test_a_report_loads_the_compressor_once_and_measures_the_shards_beside_a_bad_one(
    corpus: Path, options: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, load = [], evaluation.load_scorer
    monkeypatch.setattr(evaluation, "load_scorer", lambda *some, **more: loads.append(some) or load(*some, **more))
    out, first = tmp_path / "report", corpus / "a.jsonl"
    first.write_text('{"messages": 3, "solution": "1"}\n{"mess')
    with pytest.raises(DataError, match="1 of 6 shards failed"):
        evaluation.evaluate_shards(corpus, out, workers=2, notify=print, **options)
    assert sorted(path.name for path in (out / "metrics").glob("*.parquet")) == NAMES
    first.write_text('{"messages": 3, "solution": "1"}\n')
    table = evaluation.evaluate_shards(corpus, out, workers=2, notify=print, **options)
    assert table is not None
    assert "61 read, 58 written, 3 rejected" in table
    assert len(loads) == 2, "once in each run"


def test_a_bad_shard_is_named_and_the_others_are_made(corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    out, bad = tmp_path / "short", corpus / "part-5.jsonl"
    bad.write_text('{"messages": 3, "solution": "1"}\n{"mess')
    failed = run(corpus, out, tokenizer_folder)
    assert failed.exit_code == 2, failed.output
    assert "part-5.jsonl:2" in failed.output
    assert failed.output.splitlines()[-1].endswith("1 of 6 shards failed; repeat the command for them")
    assert sorted(path.name for path in out.glob("*.parquet")) == NAMES
    words = r"short: unfinished, part-5\.jsonl of 6 shards not there; repeat the cot-compressor compress that makes"
    with pytest.raises(DataError, match=words):
        compressed(out)
    assert len(compressed(out / "*")) == 58
    bad.write_text('{"messages": 3, "solution": "1"}\n')
    done = run(corpus, out, tokenizer_folder)
    assert done.exit_code == 0, done.output
    assert (out / "part-5.jsonl").read_text() == ""
    assert [row["reject_reason"] for row in lines(out / "part-5.rejected.jsonl")] == ["no_conversation"]


def test_an_output_folder_with_something_else_is_refused(corpus: Path, options: Row, tmp_path: Path) -> None:
    make = partial(compress_conversion, **options)

    def refused(out: Path, words: str) -> None:
        with pytest.raises(DataError, match=words):
            ShardJob("cot-compressor compress", corpus, out, make).run(workers=1, gpu=False, notify=print)

    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").touch()
    refused(tmp_path / "there", "already there, and not written by")
    refused(corpus, "would replace .*, which is read|would become a shard")
    job = ShardJob("cot-compressor compress", corpus, tmp_path / "short", make)
    job.begin(NAMES)
    (tmp_path / "short" / "part-9.parquet").touch()
    refused(tmp_path / "short", r"part-9\.parquet: no shard of .* has this name")
    (corpus / "part-1.jsonl").touch()
    refused(tmp_path / "new", r"part-1\.jsonl and part-1\.parquet differ in their ending alone")


def test_what_workers_write_to_disks_of_their_own_is_not_taken_for_made(corpus: Path, tmp_path: Path) -> None:
    job = ShardJob("cot-compressor compress", corpus, tmp_path / "short", Elsewhere)
    with pytest.raises(
        DataError, match=r"short: 5 of 5 shards, such as part-0\.parquet, were made .* and are not there"
    ):
        job.run(workers=1, gpu=False, notify=print)
    assert "rows" not in read_json(tmp_path / "short/manifest.json")


def test_a_shard_with_an_unexpected_error_is_named_and_the_others_are_made(corpus: Path, tmp_path: Path) -> None:
    said: list[str] = []
    job = ShardJob("cot-compressor compress", corpus, tmp_path / "short", OutOfMemory)
    with pytest.raises(DataError, match="1 of 5 shards failed"):
        job.run(workers=1, gpu=False, notify=said.append)
    assert said == ["part-1.parquet: RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"]
    assert len(list((tmp_path / "short").glob("*.parquet"))) == 4


def test_a_worker_that_cannot_start_ends_the_run_with_its_reason(corpus: Path, tmp_path: Path) -> None:
    job = ShardJob("cot-compressor compress", corpus, tmp_path / "out", OnAnotherMachine)
    reason = r"^a worker cannot start \(models/compressor: no such folder\); mend that, and repeat the command$"
    with pytest.raises(DataError, match=reason):
        job.run(workers=2, gpu=False, notify=print)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]
