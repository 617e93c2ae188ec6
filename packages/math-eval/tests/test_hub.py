"""Datasets of the hub, through the real library, from a loopback server that speaks the part of the hub it asks for."""

import hashlib
import io
import json
import os
import subprocess
import sys
from urllib.parse import unquote, urlsplit

import pytest

datasets = pytest.importorskip("datasets", reason="needs cot-math-eval[hub]")
pytestmark = pytest.mark.enable_socket

_PRINT_TASK = """
import json, sys
from math_eval import load_task
from math_eval.errors import DataError
try:
    task = load_task(sys.argv[1])
    print(json.dumps([task.source, task.problems]))
except DataError as error:
    print(json.dumps(str(error)))
"""


def _digest(data):
    return hashlib.sha1(data).hexdigest()


def _listing(files, folder):
    inside = [file for file in files if file.startswith(folder)]
    folders = {folder + file.removeprefix(folder).split("/")[0] for file in inside} - {*inside}
    return [{"type": "directory", "path": path, "oid": _digest(b"")} for path in sorted(folders)] + [
        {"type": "file", "path": file, "oid": _digest(files[file]), "size": len(files[file])}
        for file in inside
        if "/" not in file.removeprefix(folder)
    ]


def _lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet(*rows):
    file = io.BytesIO()
    datasets.Dataset.from_list(list(rows)).to_parquet(file)
    return file.getvalue()


class _Hub:
    """The part of the hub that the library asks for; `datasets` maps a name to (commit, files)."""

    def __init__(self, cache):
        self.datasets = {}
        self.cache = cache

    def answer(self, request):
        path = unquote(urlsplit(request.path).path)
        for name, (commit, files) in self.datasets.items():
            prefix = f"/datasets/{name}/resolve/{commit}/"
            if path.startswith(prefix) and (data := files.get(path.removeprefix(prefix))) is not None:
                return 200, {"ETag": f'"{_digest(data)}"', "X-Repo-Commit": commit}, data
            if path.startswith(tree := f"/api/datasets/{name}/tree/{commit}"):
                folder = path.removeprefix(tree).lstrip("/")
                return 200, {}, json.dumps(_listing(files, folder and f"{folder}/")).encode()
            if path in (f"/api/datasets/{name}", f"/api/datasets/{name}/revision/{commit}"):
                about = {"id": name, "sha": commit, "siblings": [{"rfilename": file} for file in files]}
                return 200, {}, json.dumps(about | {"private": False, "gated": False}).encode()
        return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"

    def load(self, task, **more):
        """Read a task in a process of its own."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_HOME": str(self.cache), "HF_ENDPOINT": self.url, **more}
        command = [sys.executable, "-c", _PRINT_TASK, str(task)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)


@pytest.fixture
def hub(serve, tmp_path):
    hub = _Hub(tmp_path / "cache")
    hub.url = serve(hub.answer).url
    return hub


def test_a_published_benchmark_comes_from_its_pinned_commit_and_then_from_the_cache(hub):
    from math_eval.tasks.datasets import BENCHMARKS

    revision = BENCHMARKS["aime25"].revision
    row = {"problem": "What is 69 + 1?", "answer": "70", "id": "0"}
    hub.datasets["math-ai/aime25"] = (revision, {"test.jsonl": _lines(row)})
    problem = {"id": "aime25/0", "question": "What is 69 + 1?", "answer": "70"}
    source = {"hub": "math-ai/aime25", "config": None, "split": "test", "revision": revision}
    assert hub.load("aime25") == [source, [problem]]
    assert hub.load("aime25", HF_HUB_OFFLINE="1") == [source, [problem]]


def test_a_config_of_parquet_files_is_read(hub):
    from math_eval.tasks.datasets import BENCHMARKS

    about = "---\nconfigs:\n- config_name: main\n  data_files:\n  - split: test\n    path: main/test-*\n---\n"
    data = _parquet({"question": "Q", "answer": "2 * 600 = <<2*600=1200>>1200\n#### 1,200"})
    files = {"README.md": about.encode(), "main/test-00000-of-00001.parquet": data}
    hub.datasets["openai/gsm8k"] = (BENCHMARKS["gsm8k"].revision, files)
    source, (problem,) = hub.load("gsm8k")
    assert (source["config"], problem["answer"]) == ("main", "1,200")


def test_a_task_file_reads_the_newest_commit_and_records_it(hub, tmp_path):
    hub.datasets["me/mine"] = ("a" * 40, {"test.jsonl": _lines({"text": "What is 1 + 1?", "result": 2.0, "level": 1})})
    path = tmp_path / "mine.toml"
    path.write_text('hub = "me/mine"\nfields = {question = "text", answer = "result"}\n')
    source, problems = hub.load(path)
    assert source["revision"] == "a" * 40
    assert problems == [{"id": "mine/0", "question": "What is 1 + 1?", "answer": "2", "level": 1}]


def test_a_token_that_the_hub_writes_into_a_row_or_a_revision_goes_no_further(hub, tmp_path):
    token = "hf_0123456789abcdef"
    row = {"text": f"What is {token}?", "result": 2, "notes": [{"by": token}]}
    hub.datasets["me/mine"] = (token, {"test.jsonl": _lines(row)})
    path = tmp_path / "mine.toml"
    path.write_text('hub = "me/mine"\nfields = {question = "text", answer = "result"}\n')
    source, (problem,) = hub.load(path, HF_TOKEN=token)
    assert (source["revision"], problem["question"], problem["notes"]) == ("[key]", "What is [key]?", [{"by": "[key]"}])


def test_another_revision_in_the_cache_is_never_taken_for_the_pinned_one(hub, tmp_path):
    hub.datasets["me/mine"] = ("a" * 40, {"test.jsonl": _lines({"text": "Q", "result": 2})})
    task = 'hub = "me/mine"\nrevision = "{}"\nfields = {{question = "text", answer = "result"}}\n'
    (tmp_path / "old.toml").write_text(task.format("a" * 40))
    (tmp_path / "new.toml").write_text(task.format("b" * 40))
    assert hub.load(tmp_path / "old.toml")[0]["revision"] == "a" * 40
    message = hub.load(tmp_path / "new.toml", HF_HUB_OFFLINE="1")
    assert f"revision {'b' * 40} is not in the cache, only {'a' * 40}" in message


def test_a_dataset_or_split_that_is_not_there_is_named(hub, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('hub = "me/mine"\nsplit = "dev"\nfields = {question = "text", answer = "result"}\n')
    assert "dataset me/mine: " in hub.load(path)
    hub.datasets["me/mine"] = ("a" * 40, {"test.jsonl": _lines({"text": "Q", "result": 2})})
    assert "Unknown split \"dev\". Should be one of ['test']" in hub.load(path)
    assert "put aime25.jsonl into a folder and name the folder with --data-dir" in hub.load("aime25")
