"""A model hub that answers on the loopback, and a process that was told to use it."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cot_compressor import Compressor
from cot_compressor.errors import DataError
from cot_compressor.scorers.hub import find_folder, push_to_hub

THOUGHTS = "So 12 + 15 = 27. Okay, let me think about this."
COMMITS = {"main": "1" * 40, "old": "0" * 40, "1" * 40: "1" * 40, "0" * 40: "0" * 40}


class Hub(BaseHTTPRequestHandler):
    """As much of the protocol as one repository, owner/scorer, needs: its files, by commit, in `commits`."""

    commits: dict[str, dict[str, bytes]]
    echoes = False
    """Whether every answer is a refusal that repeats the token, with control characters."""
    oid = "1" * 40
    """The commit that the hub names after an upload."""

    def log_message(self, *arguments: object) -> None:
        pass

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        if self.echoes:
            words = f"\x1b]0;title\x1b {self.headers.get('Authorization')}"
            status, body = 401, json.dumps({"error": words}).encode()
            headers = {"X-HF-Warning": f"topic; {words}", "X-Error-Message": words, "Content-Type": "application/json"}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not path.removeprefix("/api/models").startswith("/owner/scorer"):
            return self._send(404, X_Error_Code="RepoNotFound")
        if found := re.fullmatch(r"/api/models/owner/scorer(?:/revision/(.+)|/tree/(.+))?", path):
            commit = COMMITS.get(found[1] or found[2] or "main")
            if commit is None:
                return self._send(404, X_Error_Code="RevisionNotFound")
            files = self.commits[commit]
            if found[2]:
                entries = [{"type": "file", "path": name, "size": len(files[name]), "oid": "a"} for name in files]
                return self._json(entries)
            return self._json({"id": "owner/scorer", "sha": commit, "siblings": [{"rfilename": one} for one in files]})
        found = re.fullmatch(r"/owner/scorer/resolve/([^/]+)/(.+)", path)
        assert found
        commit = COMMITS.get(found[1])
        if commit is None:
            return self._send(404, X_Error_Code="RevisionNotFound")
        content = self.commits[commit].get(found[2])
        if content is None:
            return self._send(404, X_Error_Code="EntryNotFound")
        self._send(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=commit)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != "Bearer hf_test":
            return self._send(401)
        if self.path == "/api/repos/create":
            return self._json({"url": f"http://{self.headers['Host']}/owner/scorer", "id": "owner/scorer"})
        if "/preupload/" in self.path:
            names = [one["path"] for one in json.loads(body)["files"]]
            entries = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            return self._json({"files": entries})
        if "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            files = [line["value"] for line in lines if line["key"] == "file"]
            self.commits["1" * 40] = {one["path"]: base64.b64decode(one["content"]) for one in files}
            return self._json(
                {
                    "success": True,
                    "commitOid": self.oid,
                    "commitUrl": f"http://{self.headers['Host']}/owner/scorer/commit/{'1' * 40}",
                }
            )
        self._json({})


@pytest.fixture
def hub(socket_enabled: None) -> Iterator[str]:
    Hub.commits, Hub.echoes = {}, False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(cache: Path, hub: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """A command in a process of its own, for the client reads its settings once."""
    settings = {"HF_ENDPOINT": hub, "HF_HOME": str(cache), "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-m", "cot_compressor", *map(str, arguments)],
        env={**os.environ, "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1", **settings, **environment},
        input=THOUGHTS,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("debug", [(), ("--debug",)])
@pytest.mark.parametrize("command", [("push", "{folder}", "owner/scorer"), ("compress", "-", "--ratio", "0.5")])
def test_a_token_that_the_hub_sends_back_is_in_no_line(command, debug, hub: str, tmp_path: Path) -> None:
    Hub.echoes, Hub.commits = True, {"1" * 40: {}}
    (tmp_path / "compressor.json").write_text("{}")
    words = [word.format(folder=tmp_path) for word in command]
    words += ["--scorer", "owner/scorer@main"] * (command[0] == "compress")
    done = run(tmp_path / "cache", hub, *debug, *words, HF_TOKEN="hf_0123456789abcdef")
    assert done.returncode == 1, done.stderr
    assert "[key]" in done.stderr
    assert "0123456789abcdef" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_hub_that_names_no_commit_has_nothing_of_it_printed(hub: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Hub, "oid", "hf_test")
    (tmp_path / "compressor.json").write_text("{}")
    pushed = run(tmp_path / "cache", hub, "push", tmp_path, "owner/scorer")
    assert (pushed.returncode, pushed.stdout) == (1, "")
    assert pushed.stderr.endswith(
        "owner/scorer: the hub named no commit for the upload; look at the repository there\n"
    )


def test_a_scorer_goes_to_the_hub_and_comes_back_by_revision(trained: Path, hub: str, tmp_path: Path) -> None:
    (trained / "leftover.bin").write_bytes(b"pickle")
    pushed = run(tmp_path, hub, "push", trained, "owner/scorer", "--private")
    (trained / "leftover.bin").unlink()
    assert pushed.stdout == f"owner/scorer@{'1' * 40}\n", pushed.stderr
    there = Hub.commits["1" * 40]
    assert {"README.md", "compressor.json", "model.safetensors", "tokenizer.json"} <= there.keys()
    assert "leftover.bin" not in there

    Hub.commits["0" * 40] = {**there, "compressor.json": b'{"format": 99}', "run_me.py": b"raise SystemExit"}
    command = ["compress", "-", "--ratio", "0.5", "--scorer"]
    fetched = run(tmp_path, hub, *command, "owner/scorer")
    assert fetched.stdout == Compressor.from_pretrained(trained).compress(THOUGHTS, ratio=0.5).text + "\n"
    old = run(tmp_path, hub, *command, "owner/scorer@old")
    assert (old.returncode, "format 99; this version reads format 1" in old.stderr) == (2, True)
    assert not list(tmp_path.rglob("run_me.py"))

    Hub.commits["0" * 40] = {"config.json": b"{}", "model.safetensors": b"never read"}
    other = run(tmp_path / "other", hub, *command, "owner/scorer@old")
    assert other.stderr.endswith("has no compressor.json, so cot-compressor did not train it\n")
    assert not list(tmp_path.joinpath("other").rglob("model.safetensors"))

    missing = run(tmp_path, hub, *command, "owner/scorer@gone")
    assert missing.returncode == 2
    assert missing.stderr == (
        "error: scorer owner/scorer@gone: no such folder, and the hub has no such model or revision\n"
    )
    offline = run(tmp_path, hub, *command, "owner/scorer", HF_HUB_OFFLINE="1")
    assert offline.stdout == fetched.stdout
    nowhere = run(tmp_path / "empty", hub, *command, "owner/scorer", HF_HUB_OFFLINE="1")
    assert nowhere.returncode == 1
    assert nowhere.stderr.startswith(
        "error: scorer owner/scorer: no such folder, not downloaded before, and the hub cannot"
    )


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "../models", "owner/name@", "https://host/owner/name"])
def test_what_is_no_name_is_never_asked_for(name: str) -> None:
    with pytest.raises(DataError, match="no such folder; give `rules`, a folder"):
        find_folder(name)


def test_only_a_trained_scorer_is_pushed(encoder_folder: Path) -> None:
    with pytest.raises(DataError, match=r"has no compressor\.json"):
        push_to_hub(encoder_folder, "owner/scorer")


def test_a_link_to_a_file_elsewhere_is_not_pushed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "scorer"
    folder.mkdir()
    (folder / "compressor.json").write_text("{}")
    (folder / "notes.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match=r"notes\.txt: is a symbolic link to outside the folder"):
        push_to_hub(folder, "owner/scorer")
