"""Servers that hang, flood, redirect, send nonsense or send the key back: an error that names them, and no harm."""

import gzip
import json
import socket
import threading
import time
from contextlib import closing, suppress

import pytest
from click.testing import CliRunner

from math_eval.backends import Sampling
from math_eval.cli import cli
from math_eval.errors import DataError, MathEvalError

backend = pytest.importorskip("math_eval.backends.openai", reason="needs cot-math-eval[openai]")
pytestmark = pytest.mark.enable_socket
SECRET = "sk-never+written/0123456789"
ESCAPES = "\x1b[31mred\x1b]0;title\x07"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def reply(**changes):
    message = {"role": "assistant", "content": "<think>1 + 1</think> \\boxed{2}"}
    return {"choices": [{"index": 0, "message": message}], "usage": {"completion_tokens": 9}} | changes


def answering(serve, content, status=200, headers=None):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return serve(lambda _: (status, {"Content-Type": "application/json", **(headers or {})}, data)).url


def ask(url, **options):
    with closing(backend.Server("m", [url], **options)) as client:
        return next(client.stream(["add 1 and 1"], Sampling(64), seeds=[0]))[1]


class Raw:
    """A loopback server that sends what a generator yields, piece by piece, until the client leaves."""

    def __init__(self, pieces):
        self.connections, self._pieces = 0, pieces
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._send, args=(connection,), daemon=True).start()

    def _send(self, connection):
        with suppress(OSError), connection:
            connection.recv(65536)
            for piece in self._pieces():
                connection.sendall(piece)

    def close(self):
        self._socket.close()


@pytest.fixture
def raw():
    servers = []

    def start(pieces):
        servers.append(Raw(pieces))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def slow_body():
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    while True:
        time.sleep(0.05)
        yield b" "


def slow_headers():
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        time.sleep(0.05)
        yield b"X-More: 1\r\n"


@pytest.mark.parametrize("pieces", [slow_body, slow_headers])
def test_the_time_limit_is_one_of_the_whole_completion(raw, pieces):
    server, start = raw(pieces), time.monotonic()
    with pytest.raises(MathEvalError, match=r"no answer for 0\.1 s \(no whole answer within 0\.5 s\); repeat"):
        ask(server.url, timeout_s=0.5, patience_s=0.1)
    assert time.monotonic() - start < 30


def flood():
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + b" " * 65536 + b"\r\n"


def flood_of_an_error():
    yield b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + b"x" * 65536 + b"\r\n"


@pytest.mark.parametrize("pieces", [flood, flood_of_an_error])
def test_an_endless_answer_is_refused_by_its_size(raw, pieces):
    server = raw(pieces)
    with pytest.raises(DataError, match=r"127\.0\.0\.1.*more than 16 MiB"):
        ask(server.url)
    assert server.connections == 1


def test_a_compressed_answer_is_refused_before_it_is_unpacked(serve):
    bomb = gzip.compress(b" " * 10**8)
    with pytest.raises(DataError, match=r"127\.0\.0\.1.*compresses its answers"):
        ask(answering(serve, bomb, headers={"Content-Encoding": "gzip"}))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused_and_nobody_else_gets_the_request(serve, status):
    seen = []
    other = serve(lambda request: seen.append(request) or (200, {}, json.dumps(reply()).encode()))
    for target in (f"{other.url}/v1/chat/completions", "file:///etc/hostname", "/v1/chat/completions"):
        url = answering(serve, b"", status, {"Location": target})
        with pytest.raises(DataError, match=rf"{url}: the server redirects .*{status}.*--base-url") as refused:
            ask(url)
        assert "hostname" not in str(refused.value)
    assert seen == []


@pytest.mark.parametrize("status", [401, 404, 503])
def test_words_of_a_server_are_short_printable_and_without_the_key(serve, status):
    words = f"{ESCAPES} you sent {SECRET} {'x' * 1000}"
    url = answering(serve, {"error": {"message": words}}, status)
    with pytest.raises(MathEvalError, match=r"\\x1b\[31mred") as refused:
        ask(url, patience_s=0.01)
    message = str(refused.value)
    assert url in message
    assert "[key]" in message
    assert "\x1b" not in message
    assert len(message) < 500
    chain = [refused.value, refused.value.__cause__, None if refused.value.__suppress_context__ else "context"]
    assert chain[1:] == [None, None]


def test_a_key_that_the_server_sends_back_is_in_no_file_and_no_line(serve, problems, tmp_path):
    content = f"<think> {SECRET} </think> Bearer {SECRET} \\boxed{{2}}"
    bodies = [json.dumps(reply(choices=[{"message": {"content": content}}])).encode()] * 3
    failure = json.dumps({"error": {"message": f"no credit for {SECRET}"}}).encode()
    url = serve(lambda _: (200, {}, bodies.pop()) if bodies else (403, {"X-Key": SECRET}, failure)).url
    command = [
        "run", "--model", "openai:m", "--base-url", f"{url}/v1", "--tasks", str(problems), "--batch-size", "1",
        "--output-dir", str(tmp_path / "r"),
    ]  # fmt: skip
    done = CliRunner().invoke(cli, command)
    assert (done.exit_code, "no credit for [key]" in done.stderr) == (2, True)
    files = [path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    assert sum("Bearer [key]" in text for text in files) == 1
    assert not any(SECRET in text for text in [*files, done.output])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 200_000, "not a chat completion"),
        (b"\xff\xfe", "not a chat completion"),
        (b"[1]", "not a chat completion"),
        (b'{"choices": {"a": 1}}', "not a chat completion"),
        (reply(choices=[7]), "choice: got 7; expected an object"),
        (reply(choices=[{"message": "hi"}]), "message: got text; expected an object"),
        (reply(choices=[{"message": {"content": {"a": [ESCAPES]}}}]), r"content: got .*expected text"),
        (reply(choices=[{"message": {"content": [ESCAPES]}}]), "content: got text; expected an object"),
        (reply(choices=[{"message": {"content": [{"type": SECRET}]}}]), "content: got a part that is no text"),
        (
            reply(choices=[{"message": {"content": [{"type": "text", "text": [SECRET]}]}}]),
            "text: got a list; expected text",
        ),
        (
            reply(choices=[{"message": {"thinking": [{"type": "thinking", "thinking": {"a": SECRET}}]}}]),
            "got an object",
        ),
        (reply(choices=[{"message": {"content": "", "reasoning": 4}}]), "reasoning: got 4; expected text"),
        (reply(usage=None), "reports no token usage"),
        (reply(usage=[3]), "usage: got .*expected an object"),
        (reply(usage={"completion_tokens": SECRET}), "completion_tokens: got text; expected"),
        (reply(choices=[{"message": {"content": {"a": SECRET}}}]), "content: got an object; expected text"),
        (reply(usage={"completion_tokens": None}), "completion_tokens: got null; expected a whole number"),
        (reply(usage={"completion_tokens": True}), "completion_tokens: got true"),
        (reply(usage={"completion_tokens": -5}), "completion_tokens: got -5; expected a number of tokens"),
        (reply(usage={"completion_tokens": 10**400}), "completion_tokens: got 1000"),
        (
            reply(usage={"completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": "3"}}),
            "reasoning_tokens: got text; expected a whole number",
        ),
    ],
)
def test_an_answer_of_a_wrong_type_names_the_server(serve, content, message):
    url = answering(serve, content)
    with pytest.raises(DataError, match=message) as refused:
        ask(url)
    assert str(refused.value).startswith(f"{url}: ")
    assert not any(word in str(refused.value) for word in ("\x1b", SECRET))
    assert len(str(refused.value)) < 300


def test_half_a_surrogate_pair_in_an_answer_is_carried_through(serve, problems, tiny_model, tmp_path):
    url = answering(serve, reply(choices=[{"message": {"content": "<think> \ud800 </think> \\boxed{2}"}}]))
    for number, more in enumerate(([], ["--tokenizer", str(tiny_model)])):
        command = [
            "run", "--model", "openai:m", "--base-url", f"{url}/v1", "--tasks", str(problems), "--limit", "1",
            "--output-dir", str(tmp_path / f"r{number}"), *more,
        ]  # fmt: skip
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "url",
    [
        "http://h/v1?api_key=sk-secret",
        "http://h/v1?x",
        "ftp://h/v1?api-key=sk-secret",
        "http://h/v1#sk-secret",
        "ftp://user:sk-secret@h/v1",
        "http://sk-secret@h/v1",
        "sk-secret@h",
        "http://[::1",
        "http://h:99999/v1",
        "http://h\x1b[31m/v1",
    ],
)
def test_an_address_that_may_hold_a_secret_is_refused_without_being_quoted(url):
    with pytest.raises(DataError, match="base-url must") as refused:
        backend.Server("m", [url])
    assert "sk-secret" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_an_address_with_the_key_in_its_path_is_refused_without_being_quoted():
    with pytest.raises(DataError, match="base-url must not contain a key") as refused:
        backend.Server("m", [f"http://127.0.0.1/{SECRET}/v1"])
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("charset", ["punycode", "hex", "rot13", "undefined", "utf-16"])
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_is_utf8_whatever_its_type_says(serve, charset, status):
    content = reply() if status == 200 else {"error": {"message": "ab-" * 300_000}}
    url = answering(serve, content, status, {"Content-Type": f"application/json; charset={charset}"})
    completion = ask(url)
    assert completion.text == reply()["choices"][0]["message"]["content"] * (status == 200)
    assert (completion.refused is None) == (status == 200)


@pytest.mark.parametrize("content", ["{", "[" * 100_000, '{"version": 3}', "null"])
def test_a_corrupted_tokenizer_of_a_server_is_named(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DataError, match=r"tokenizer\.json: cannot be loaded"):
        backend.Server("m", ["http://127.0.0.1:9/v1"], tokenizer=tmp_path)
