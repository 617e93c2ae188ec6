"""Proxies of the environment: used for other hosts, never for this machine; one that fails or is none is one error."""

import json
import socket
import threading
from contextlib import closing, suppress

import pytest

from math_eval.backends import Sampling
from math_eval.errors import DataError, MathEvalError

backend = pytest.importorskip("math_eval.backends.openai", reason="needs cot-math-eval[openai]")
pytestmark = pytest.mark.enable_socket
SECRET, PASSWORD = "sk-never+written/0123456789", "pa55word"
REMOTE = "http://server.invalid/v1"
BODY = json.dumps(
    {
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "\\boxed{2}"}}],
        "usage": {"completion_tokens": 3},
    }
).encode()


class Proxy:
    """A loopback proxy that records what it gets, and sends one answer."""

    def __init__(self, answer):
        self.seen, self._answer = [], answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:{PASSWORD}@127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._send, args=(connection,), daemon=True).start()

    def _send(self, connection):
        with suppress(OSError), connection:
            self.seen.append(connection.recv(65536).decode("latin-1"))
            if self._answer is None:
                connection.recv(1)  # until the client leaves
            else:
                connection.sendall(self._answer)

    def close(self):
        self._socket.close()


def http(status, body):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@pytest.fixture
def proxy(monkeypatch):
    """`proxy(answer)` starts a proxy and names it in HTTP_PROXY and HTTPS_PROXY."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    started = []

    def start(answer):
        started.append(Proxy(answer))
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, started[-1].url)
        return started[-1]

    yield start
    for each in started:
        each.close()


def ask(url):
    with closing(backend.Server("m", [url], timeout_s=0.5, patience_s=0.1)) as client:
        return next(client.stream(["add 1 and 1"], Sampling(64), seeds=[0]))[1]


def test_another_host_is_asked_through_the_proxy(proxy):
    server = proxy(http("200 OK", BODY))
    assert ask(REMOTE).text == "\\boxed{2}"
    assert server.seen[0].startswith(f"POST {REMOTE}/chat/completions")


def test_a_host_of_no_proxy_is_not(proxy, monkeypatch):
    server = proxy(http("200 OK", BODY))
    monkeypatch.setenv("NO_PROXY", "server.invalid")
    with pytest.raises(MathEvalError, match="no answer"):
        ask(REMOTE)
    assert not server.seen


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_never_asked_through_a_proxy(host, proxy, serve):
    server = proxy(http("500 Nobody asks me", b""))
    local = serve(lambda _: (200, {"Content-Type": "application/json"}, BODY)).url
    assert ask(f"{local.replace('127.0.0.1', host)}/v1").text == "\\boxed{2}"
    assert not server.seen


@pytest.mark.parametrize("url", [REMOTE, REMOTE.replace("http", "https")])
@pytest.mark.parametrize(
    "answer",
    [http("407 Proxy Authentication Required", SECRET.encode()), b"\x00\xff\x1b[31m \r\n\r\n", b"", None],
    ids=["407", "garbage", "closes", "never"],
)
def test_a_proxy_that_fails_is_one_error_without_secrets(answer, url, proxy):
    proxy(answer)
    with pytest.raises(MathEvalError, match=f"^{url}: ") as error:
        ask(url)
    assert SECRET not in str(error.value)
    assert PASSWORD not in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("address", ["ftp://{}@host", "http://", "http://{}@[host", "http://{}@host:99999"])
def test_a_proxy_that_is_none_is_refused_and_never_quoted(address, proxy, monkeypatch):
    proxy(b"")
    monkeypatch.setenv("HTTP_PROXY", address.format(f"user:{PASSWORD}"))
    with pytest.raises(DataError, match=r"^HTTP_PROXY must look like http://HOST:PORT; correct it, or unset it$"):
        ask(REMOTE)
