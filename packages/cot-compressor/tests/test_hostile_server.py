"""A server that nobody should trust: it cannot hold a run up, fill the memory, or get the key written anywhere."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cot_compressor.errors import CompressorError, DataError
from cot_compressor.training.annotate import annotate_file
from cot_compressor.training.annotate_openai import OpenAIAnnotator

KEY = "sk-secret-0123456789"
COT = "First we add. $2 + 3 = 5$. So the answer is 5."
GOOD = {
    "id": "c",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{}"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
pytestmark = [pytest.mark.enable_socket, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[socket.socket, str], None]], str]]:
    """`serve(answer)` starts a server that hands every connection and its request to `answer`; returns its address."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    listeners = []

    def start(answer: Callable[[socket.socket, str], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection: socket.socket) -> None:
            with connection:
                try:
                    request = connection.recv(2**20).decode("latin-1")
                    answer(connection, request)
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    row = {"id": "a", "question": "2 + 3?", "answer": "5", "cot": COT, "response": "5", "model": "m"}
    row |= {"correct": True, "sample": 0}
    path.write_text(json.dumps(row) + "\n")
    return path


def slow_body(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    drip(connection)


def slow_headers(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    drip(connection)


def drip(connection: socket.socket) -> None:
    for _ in range(600):
        connection.sendall(b" ")
        time.sleep(0.1)


@pytest.mark.parametrize("answer", [slow_body, slow_headers])
def test_a_slow_server_is_left_when_its_time_is_over(serve, answer, source: Path, tmp_path: Path) -> None:
    annotator = OpenAIAnnotator("m", base_urls=[serve(answer)], concurrency=1, timeout_s=1.0)
    with pytest.raises(CompressorError, match="no whole answer within 1 seconds"):
        annotate_file(source, tmp_path / "out.jsonl", annotator)


def endless(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def bomb(connection: socket.socket, _: str) -> None:
    connection.sendall(http("200 OK", gzip.compress(b" " * 10**8), "Content-Encoding: gzip"))


@pytest.mark.parametrize(
    ("answer", "message"), [(endless, "an answer of more than 16 MiB"), (bomb, "compresses its answers")]
)
def test_an_answer_without_end_is_refused_by_its_size(serve, answer, message, source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        annotate_file(source, tmp_path / "out.jsonl", OpenAIAnnotator("m", base_urls=[serve(answer)], concurrency=1))


def test_half_a_surrogate_pair_in_an_answer_is_a_bad_answer_like_others(serve, source: Path, tmp_path: Path) -> None:
    message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "\ud800"}}
    body = json.dumps(GOOD | {"choices": [message]}).encode()
    url = serve(lambda connection, _: connection.sendall(http("200 OK", body)))
    tally = annotate_file(source, tmp_path / "out.jsonl", OpenAIAnnotator("m", base_urls=[url], concurrency=1))
    assert tally is not None
    assert tally.reasons == {"bad_annotation": 1}


def test_an_address_of_the_environment_is_checked_and_recorded_like_a_given_one(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:secret@127.0.0.1/v1")
    with pytest.raises(DataError, match="base-url must not contain a user name or password"):
        OpenAIAnnotator("m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1/v1")
    assert OpenAIAnnotator("m").settings["base_url"] == "http://127.0.0.1/v1"


def test_a_key_that_the_server_sends_back_is_written_nowhere(serve, source: Path, tmp_path: Path, capsys) -> None:
    answers = iter(range(100))

    def echo(connection: socket.socket, request: str) -> None:
        header = next(line for line in request.split("\r\n") if line.lower().startswith("authorization"))
        assert KEY in header
        if next(answers) == 1:  # the request that asks whether the server accepts any text
            connection.sendall(http("200 OK", json.dumps(GOOD).encode()))
        else:
            body = json.dumps({"error": {"message": f"{header} \x1b[31mis bad {'x' * 10_000}"}}).encode()
            connection.sendall(http("400 Bad Request", body))

    out = tmp_path / "out.jsonl"
    tally = annotate_file(source, out, OpenAIAnnotator("m", base_urls=[serve(echo)], concurrency=1))
    assert tally is not None
    assert tally.reasons == {"refused_by_server": 1}
    row = json.loads((tmp_path / "out.rejected.jsonl").read_text())
    assert "[key]" in row["reject_detail"]
    assert len(row["reject_detail"]) <= 400
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in written + "".join(capsys.readouterr())


def test_a_key_in_the_name_of_a_field_is_not_quoted(serve, source: Path, tmp_path: Path) -> None:
    body = f'{{"{KEY}": 1, "{KEY}": 2, "{"x" * 9999}": 3}}'.encode()
    annotator = OpenAIAnnotator(
        "m", base_urls=[serve(lambda connection, _: connection.sendall(http("200 OK", body)))], concurrency=1
    )
    with pytest.raises(DataError, match=r"field '\[key\]' is given twice"):
        annotate_file(source, tmp_path / "out.jsonl", annotator)


def test_a_redirect_is_never_followed(serve, source: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    def elsewhere(connection: socket.socket, request: str) -> None:
        seen.append(request)
        connection.sendall(http("200 OK", json.dumps(GOOD).encode()))

    other = serve(elsewhere)

    def redirect(connection: socket.socket, _: str) -> None:
        connection.sendall(http("307 Temporary Redirect", b"{}", f"Location: {other}/chat/completions"))

    with pytest.raises(CompressorError, match="307"):
        annotate_file(source, tmp_path / "out.jsonl", OpenAIAnnotator("m", base_urls=[serve(redirect)], concurrency=1))
    assert not seen


@pytest.mark.parametrize(
    "body",
    [
        b"<html>\x1b[31m</html>",
        b"[" * 100_000,
        b"[]",
        b"{}",
        json.dumps({**GOOD, "choices": [{"message": {"content": {"a": 1}}}]}).encode(),
        json.dumps({**GOOD, "choices": "many"}).encode(),
        json.dumps({**GOOD, "usage": {"prompt_tokens": "many", "completion_tokens": 1}}).encode(),
        json.dumps({**GOOD, "usage": {"prompt_tokens": -1, "completion_tokens": 1}}).encode(),
    ],
)
def test_an_answer_that_is_no_chat_completion_is_one_clear_error(serve, body, source: Path, tmp_path: Path) -> None:
    annotator = OpenAIAnnotator(
        "m", base_urls=[serve(lambda connection, _: connection.sendall(http("200 OK", body)))], concurrency=1
    )
    with pytest.raises(DataError, match=r"answer(: | is )n(ot|ested)"):
        annotate_file(source, tmp_path / "out.jsonl", annotator)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("address", ["http://me:word@host/v1", "http://host/v1?api_key=abc", "file:///etc/passwd", "x"])
def test_an_address_with_a_secret_or_none_is_refused_unquoted(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(DataError, match="base-url must") as refused:
        OpenAIAnnotator("m", base_urls=[address])
    assert "word" not in str(refused.value).replace("password", "")
    assert "abc" not in str(refused.value)
