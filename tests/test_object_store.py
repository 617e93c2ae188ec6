"""An object store (a server that answers as S3): rows are read from it and written to it, and an upload breaks."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress

import pytest
from click.testing import CliRunner
from pyarrow.fs import FileSelector, FileSystem
from tokenizers import Tokenizer, models, pre_tokenizers

from cot_compressor._shared.addresses import Address
from cot_compressor._shared.records import read_records, write_records
from cot_compressor._shared.remote_output import RemoteOutput
from cot_compressor._shared.runs import check_apart
from cot_compressor.cli import cli as compressor
from cot_compressor.compress import compress_file
from cot_compressor.errors import DataError
from math_eval._shared.records import read_records as read_graded
from math_eval.cli import cli as grader
from ratio_sft.cli import cli as builder

pytestmark = pytest.mark.enable_socket
COT = "Let me see. So {0} + 15 = {1}. Check: {0} + 15 = {1}, yes. So the answer is {1}."


def traces(count):
    return [
        {
            "id": f"p{number}",
            "question": f"What is {number} + 15?",
            "answer": str(number + 15),
            "cot": COT.format(number, number + 15),
            "response": rf"\boxed{{{number + 15}}}",
            "model": "toy",
            "correct": True,
            "sample": 0,
        }
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def port():
    """The port of a running server."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while server.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        assert server.poll() is None
        yield port
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def bucket(port, monkeypatch, tmp_path):
    """The address of an empty bucket; unfinished outputs are below `tmp_path`."""
    own = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}
    for name, value in own.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name = f"corpora-{os.urandom(4).hex()}"
    FileSystem.from_uri(f"s3://{name}?allow_bucket_creation=true")[0].create_dir(name)
    return f"s3://{name}"


@pytest.fixture
def tokenizer(tmp_path):
    """A folder with a tokenizer of which every word, number and sign is one token."""
    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / "words").mkdir()
    words.save(str(tmp_path / "words/tokenizer.json"))
    return tmp_path / "words"


def upload(rows, address, folder):
    path = folder / "upload" / Address(address).name
    write_records(path, rows)
    Address(address).upload(path)


def names(bucket):
    system, path = FileSystem.from_uri(bucket)
    return sorted(info.base_name for info in system.get_file_info(FileSelector(path, recursive=True)) if info.is_file)


def run(cli, *arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_shards_on_a_store_become_shards_on_it_by_ray_workers(bucket, tokenizer, tmp_path):
    ray = pytest.importorskip("ray", reason="needs cot-compressor[ray]")
    rows = traces(6)
    upload(rows[:3], f"{bucket}/corpus/a.parquet", tmp_path)
    upload(rows[3:], f"{bucket}/corpus/b.jsonl.gz", tmp_path)
    command = ["compress", f"{bucket}/corpus", f"{bucket}/short", "--ratio", 0.5, "--tokenizer", tokenizer]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        done = run(compressor, *command, "--engine", "ray")
        assert done.exit_code == 0, done.output
        assert "6 read, 6 written" in done.stderr
        compress_file(f"{bucket}/corpus", tmp_path / "one.jsonl", ratios=[0.5], scorer="rules", tokenizer=tokenizer)
        assert list(read_records(f"{bucket}/short", "compressed")) == list(
            read_records(tmp_path / "one.jsonl", "compressed")
        )
        made = names(f"{bucket}/short")
        assert made == [
            "a.parquet",
            "a.parquet.manifest.json",
            "b.jsonl.gz",
            "b.jsonl.gz.manifest.json",
            "manifest.json",
        ]

        Address(f"{bucket}/short/b.jsonl.gz").remove()
        Address(f"{bucket}/short/b.jsonl.gz.manifest.json").remove()
        with pytest.raises(DataError, match=r"short: unfinished, b\.jsonl\.gz of 2 shards not there"):
            list(read_records(f"{bucket}/short", "compressed"))
        again = run(compressor, *command, "--engine", "ray")
        assert again.exit_code == 0, again.output
        assert names(f"{bucket}/short") == made

        upload(rows[:1], f"{bucket}/short/old.jsonl", tmp_path)
        stale = run(compressor, *command, "--engine", "ray")
        assert (stale.exit_code, "short/old.jsonl: no shard of" in stale.output) == (2, True), stale.output
        upload([{"command": "other", "settings": {}}], f"{bucket}/short/manifest.json", tmp_path)
        foreign = run(compressor, *command, "--engine", "ray")
        assert (foreign.exit_code, "written by other, not by cot-compressor" in foreign.output) == (2, True)
    finally:
        ray.shutdown()


def test_a_corpus_on_a_store_goes_through_the_commands_as_one_on_disk(bucket, tokenizer, tmp_path):
    rows = traces(6)
    upload(rows[:3], f"{bucket}/corpus/a.parquet", tmp_path)
    upload(rows[3:], f"{bucket}/corpus/b.jsonl.gz", tmp_path)
    write_records(tmp_path / "in.jsonl", rows)
    options = ["--ratio", 0.5, "--ratio", 1.0, "--tokenizer", tokenizer]
    run(compressor, "compress", tmp_path / "in.jsonl", tmp_path / "out.jsonl", *options)
    done = run(compressor, "compress", f"{bucket}/corpus", f"{bucket}/short.parquet", *options)
    assert done.exit_code == 0, done.output
    short = list(read_records(f"{bucket}/short.parquet", "compressed"))
    assert short == list(read_records(tmp_path / "out.jsonl", "compressed"))
    assert names(bucket) == ["a.parquet", "b.jsonl.gz", "short.parquet", "short.parquet.manifest.json"]
    assert not list((tmp_path / "cache").rglob("*short*"))
    again = run(compressor, "compress", f"{bucket}/corpus", f"{bucket}/short.parquet", *options)
    assert "already made with these settings; nothing to do" in again.stderr
    other = run(compressor, "compress", f"{bucket}/corpus", f"{bucket}/short.parquet", *options[2:])
    assert (other.exit_code, "made with other settings (ratios was [0.5, 1.0], is [1.0])" in other.stderr) == (2, True)

    for source, mix in ((f"{bucket}/short.parquet", "mix"), (tmp_path / "out.jsonl", "expected")):
        done = run(builder, "build", source, tmp_path / mix, "--tolerance", 0.5)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "mix/train.jsonl").read_bytes() == (tmp_path / "expected/train.jsonl").read_bytes()

    graded = f"{bucket}/graded.parquet"
    done = run(grader, "grade", f"{bucket}/corpus/*", graded, "--columns", "gold=answer,completion=response")
    assert (done.exit_code, done.stdout) == (0, "correct 6\n"), done.output
    assert [row["verdict"] for row in read_graded(graded, "graded")] == ["correct"] * 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.parquet", "/none.parquet: no such file; check the path"),
        ("corpus", "/corpus/torn.parquet: unreadable ("),
    ],
)
def test_what_is_missing_or_torn_on_a_store_is_one_line(bucket, tokenizer, tmp_path, name, message):
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and nothing else")
    Address(f"{bucket}/corpus/torn.parquet").upload(tmp_path / "torn.parquet")
    options = ["--ratio", 0.5, "--tokenizer", tokenizer]
    done = run(compressor, "compress", f"{bucket}/{name}", tmp_path / "out.jsonl", *options)
    assert done.exit_code == 2
    assert f"error: {bucket}{message}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_object_that_another_program_wrote_is_never_replaced(bucket, tokenizer, tmp_path):
    write_records(tmp_path / "in.jsonl", traces(2))
    upload(traces(1), f"{bucket}/mine.jsonl", tmp_path)
    options = ["--ratio", 0.5, "--tokenizer", tokenizer, "--overwrite"]
    done = run(compressor, "compress", tmp_path / "in.jsonl", f"{bucket}/mine.jsonl", *options)
    assert done.exit_code == 2
    assert (
        "mine.jsonl: already there, and not written by cot-compressor compress (no mine.jsonl.manifest.json)"
        in done.stderr
    )
    assert list(read_records(f"{bucket}/mine.jsonl", "traces")) == traces(1)


@pytest.mark.parametrize("manifest", ["[]", '{"command": "x"}', '{"command": "x", "settings": 5}'])
def test_what_is_no_manifest_on_a_store_is_one_line(bucket, tmp_path, manifest):
    (tmp_path / "manifest").write_text(manifest)
    Address(f"{bucket}/o.jsonl.manifest.json").upload(tmp_path / "manifest")
    with pytest.raises(DataError, match=r"o\.jsonl\.manifest\.json: not a manifest of this toolkit; name another"):
        RemoteOutput(f"{bucket}/o.jsonl", "cot-compressor compress").is_finished({"a": 1})


@pytest.mark.parametrize("name", ["a/..", ".."])
def test_an_output_on_a_store_has_a_name(bucket, name):
    with pytest.raises(DataError, match="names no file; add the name of the output"):
        RemoteOutput(f"{bucket}/{name}", "cot-compressor compress")


@pytest.mark.parametrize(("out", "given"), [("c/z.jsonl", "c"), ("c/z.jsonl", "c/*.jsonl"), ("c/z.jsonl", "c/z.jsonl")])
def test_an_output_on_a_store_that_would_be_read_as_input_is_refused(bucket, out, given):
    with pytest.raises(DataError, match=r"would (replace|become a shard of) s3:"):
        check_apart([f"{bucket}/{out}"], [f"{bucket}/{given}"])
    check_apart([f"{bucket}/{out}"], [f"{bucket}/other", out, given])


class Breaking:
    """A proxy of the store that closes every connection once so many bytes have been sent to the store."""

    def __init__(self, port, most):
        self._port, self._left = port, most
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                store = socket.create_connection(("127.0.0.1", self._port))
                for one, other, counted in ((client, store, True), (store, client, False)):
                    threading.Thread(target=self._pass, args=(one, other, counted), daemon=True).start()

    def _pass(self, one, other, counted):
        with suppress(OSError), one, other:
            while data := one.recv(2**16):
                self._left -= len(data) if counted else 0
                if self._left < 0:
                    break
                other.sendall(data)
            for each in (one, other):
                each.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.close()


def test_an_upload_that_breaks_leaves_nothing_under_its_name_and_the_next_run_only_uploads(
    bucket, port, tokenizer, tmp_path, monkeypatch
):
    noise = {f"noise{at}": os.urandom(2**20).hex() for at in range(8)}
    write_records(tmp_path / "in.jsonl", [{**row, **noise} for row in traces(2)])
    options = {"ratios": [0.5], "scorer": "rules", "tokenizer": tokenizer}
    proxy = Breaking(port, 8 * 2**20)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(DataError, match=r"short\.jsonl: .*; check address, credentials and network") as failed:
        compress_file(tmp_path / "in.jsonl", f"{bucket}/short.jsonl", **options)
    assert failed.value.exit_code == 1
    proxy.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    assert names(bucket) == []
    (kept,) = (tmp_path / "cache").rglob("short.jsonl")
    made = kept.stat().st_mtime_ns
    with pytest.raises(DataError, match="made with other settings"):
        compress_file(tmp_path / "in.jsonl", f"{bucket}/short.jsonl", **{**options, "ratios": [0.7]})
    assert kept.stat().st_mtime_ns == made
    assert compress_file(tmp_path / "in.jsonl", f"{bucket}/short.jsonl", **options) is None
    assert names(bucket) == ["short.jsonl", "short.jsonl.manifest.json"]
    assert [row["noise7"] for row in read_records(f"{bucket}/short.jsonl", "compressed")] == [noise["noise7"]] * 2
    assert not kept.exists()
