"""The backend for servers, against a real HTTP server that fails in the ways real ones do."""

import json
import os
import re
import threading
import time
from collections import Counter
from contextlib import closing
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from math_eval.backends import Sampling
from math_eval.cli import cli
from math_eval.errors import DataError, MathEvalError

backend = pytest.importorskip("math_eval.backends.openai", reason="needs cot-math-eval[openai]")
pytestmark = pytest.mark.enable_socket
SECRET = "sk-never-written"


class _Sums:
    """Adds the numbers of a question; fails, waits and reports reasoning as a test sets it."""

    def __init__(self, serve):
        self.lock = threading.Lock()
        self.bodies, self.failures, self.slow_s, self.seen = [], [], [], Counter()
        self.flying = self.most = 0
        self.pause_s, self.reasoning, self.failing = 0.01, False, ""
        self.http = serve(self.answer)
        self.url = f"{self.http.url}/v1"

    def answer(self, request):
        body = json.loads(request.body)
        question = body["messages"][0]["content"]
        with self.lock:
            self.bodies.append((body, request.headers["Authorization"]))
            self.flying += 1
            self.most = max(self.most, self.flying)
            self.seen[question] += 1
            failure = self.failures.pop(0) if self.failures else None
            pause = self.slow_s.pop(0) if self.slow_s else self.pause_s
        time.sleep(pause)
        if question == self.failing:
            failure = 500, {}, {"error": {"message": "CUDA error"}}
        status, headers, answer = failure or (200, {}, self._completion(question))
        with self.lock:
            self.flying -= 1
        return status, {"Content-Type": "application/json", **headers}, json.dumps(answer).encode()

    def _completion(self, question):
        one, two = map(int, re.findall(r"\d+", question)[:2] or (0, 0))
        message = {"role": "assistant", "content": f"<think>{one} + {two}</think> \\boxed{{{one + two}}}"}
        if self.reasoning:
            message |= {"content": f"\\boxed{{{one + two}}}", "reasoning_content": f"{one}+{two}"}
        return {
            "id": "x", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 20, "total_tokens": 25},
        }  # fmt: skip


@pytest.fixture
def sums(serve, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setattr(backend, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(backend, "_LONGEST_PAUSE_S", 0.05)
    return _Sums(serve)


def _ask(sums, count=12, **options):
    with closing(backend.Server("m", [sums.url], **options)) as client:
        found = client.stream([f"add {n} and 1" for n in range(count)], Sampling(64, 0.7, 0.9), seeds=range(count))
        return {index: completion for index, completion, _ in found}


def test_requests_carry_the_sampling_and_stay_within_the_concurrency(sums):
    answers = _ask(sums, concurrency=3)
    assert {index: one.text for index, one in answers.items()} == {
        n: f"<think>{n} + 1</think> \\boxed{{{n + 1}}}" for n in range(12)
    }
    assert 1 < sums.most <= 3
    body, key = sums.bodies[0]
    assert (body["max_tokens"], body["temperature"], body["top_p"], body["model"]) == (64, 0.7, 0.9, "m")
    assert {body["seed"] for body, _ in sums.bodies} == set(range(12))
    assert key == f"Bearer {SECRET}"


def test_passing_failures_are_tried_again_and_the_servers_pause_is_kept(sums):
    error = {"error": {"message": "busy"}}
    sums.failures = [(503, {}, error), (429, {"Retry-After": "0.05"}, error), (500, {}, error), (408, {}, error)]
    answers = _ask(sums, concurrency=2)
    assert len(answers) == 12
    assert sum(sums.seen.values()) == 16


def test_a_refusal_of_every_request_ends_the_run_at_once_with_the_servers_words(sums):
    sums.failures = [(401, {}, {"error": {"message": "unknown key"}})]
    with pytest.raises(DataError, match="unknown key"):
        _ask(sums, concurrency=1)
    assert sum(sums.seen.values()) == 1


def test_a_server_that_stays_away_ends_the_run_with_what_to_do(sums):
    sums.http.stop()
    with pytest.raises(MathEvalError, match="repeat the command"):
        _ask(sums, patience_s=0.1)
    sums.http.start()


def test_patience_is_counted_from_the_first_failure(sums):
    """A request that takes long and then fails is still tried again."""
    sums.failures = [(503, {}, {"error": {"message": "busy"}})]
    sums.pause_s = 0.2
    assert len(_ask(sums, count=1, patience_s=0.1)) == 1


def test_a_request_that_fails_alone_is_an_error_of_its_own(sums):
    sums.failing = "add 3 and 1"
    answers = _ask(sums, concurrency=3)
    assert len(answers) == 12
    assert [index for index, one in answers.items() if one.refused] == [3]
    assert "CUDA error" in answers[3].refused
    assert "(9 times, while another request was answered)" in answers[3].refused
    assert sums.seen[sums.failing] == 9


def test_server_errors_of_a_server_that_answers_nothing_are_not_the_requests_fault(sums):
    sums.failures = [(503, {}, {"error": {"message": "loading"}})] * 30
    answers = _ask(sums, count=2, concurrency=2)
    assert [answers[index].refused for index in range(2)] == [None, None]


def test_fields_of_the_sampling_are_left_out_on_request(sums):
    _ask(sums, count=2, leave_out=("temperature", "seed"))
    assert [sorted({"temperature", "top_p", "seed"} & body.keys()) for body, _ in sums.bodies] == [["top_p"]] * 2


def test_the_time_limit_of_a_request_is_kept_and_it_is_tried_again(sums):
    sums.slow_s = [5.0]
    assert len(_ask(sums, count=1, timeout_s=0.2)) == 1
    assert sum(sums.seen.values()) == 2


def test_requests_are_spaced_by_the_rate_limit(sums):
    """Only the lower bound is checked: a busy machine may take longer."""
    start = time.monotonic()
    assert len(_ask(sums, count=6, requests_per_minute=1200)) == 6
    assert time.monotonic() - start >= 5 * 0.05


def test_an_answer_that_is_no_completion_is_said_to_be_none(sums):
    sums.failures = [(200, {}, {"status": "ok"})]
    with pytest.raises(DataError, match="not a chat completion; does the address end in /v1"):
        _ask(sums, count=1)


def test_a_stream_that_is_left_early_ends_its_requests(sums):
    with closing(backend.Server("m", [sums.url], concurrency=2)) as client:
        stream = client.stream([f"add {n} and 1" for n in range(50)], Sampling(64), seeds=range(50))
        next(stream)
        stream.close()
    assert sum(sums.seen.values()) < 50
    assert not [thread for thread in threading.enumerate() if thread.name == "math-eval requests"]


def test_reasoning_in_its_own_field_is_the_thinking_block(sums):
    sums.reasoning = True
    answer = _ask(sums, count=1)[0]
    assert answer.text == r"<think>0+1</think>\boxed{1}"
    assert answer.thinking_tokens == round(20 * len("0+1") / len("0+1\\boxed{1}"))


def test_bad_addresses_are_refused():
    for url in ("127.0.0.1:8000", "ftp://x/v1", "http://user:word@x/v1"):
        with pytest.raises(DataError, match="base-url"):
            backend.Server("m", [url])


def test_a_key_that_no_header_can_carry_is_refused_without_being_told(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\nmore")
    with pytest.raises(DataError, match="OPENAI_API_KEY") as refused:
        backend.Server("m", ["http://127.0.0.1:9/v1"])
    assert SECRET not in str(refused.value)
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\n")
    backend.Server("m", ["http://127.0.0.1:9/v1"]).close()


def _command(sums, problems, folder):
    return [
        "run", "--model", "openai:m", "--base-url", sums.url, "--tasks", str(problems), "--instruction", "",
        "--batch-size", "4", "--output-dir", str(folder),
    ]  # fmt: skip


def _rows(folder):
    rows = [json.loads(line) for line in (folder / "samples_sums.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name not in ("latency_s", "wall_s")} for row in rows]


def test_a_run_outlives_its_server_and_asks_nothing_twice(sums, problems, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = CliRunner().invoke(cli, _command(sums, problems, whole))
    assert (done.exit_code, "accuracy 100.0%" in done.stdout) == (0, True), done.output
    results = []
    partial = broken / "samples_sums.partial.jsonl"
    run = threading.Thread(target=lambda: results.append(CliRunner().invoke(cli, _command(sums, problems, broken))))
    run.start()
    while run.is_alive() and (not partial.exists() or partial.stat().st_size < 1500):
        time.sleep(0.001)
    sums.http.stop()
    stored = len(partial.read_bytes().splitlines()) if partial.exists() else 16
    time.sleep(0.05)
    sums.seen.clear()
    sums.http.start()
    run.join()
    assert results[0].exit_code == 0, results[0].output
    assert _rows(broken) == _rows(whole)
    assert sum(sums.seen.values()) <= 16 - stored + 4


def test_a_run_that_gave_up_is_resumed_and_the_key_is_nowhere(sums, problems, tmp_path):
    folder = tmp_path / "r"
    fine = [None] * 7
    sums.failures = [*fine, *[(403, {}, {"error": {"message": "no credit"}})] * 9]
    failed = CliRunner().invoke(cli, _command(sums, problems, folder))
    assert (failed.exit_code, "no credit" in failed.stderr) == (2, True), failed.output
    stored = len((folder / "samples_sums.partial.jsonl").read_bytes().splitlines())
    assert 0 < stored <= 7
    sums.failures.clear()
    sums.seen.clear()
    assert CliRunner().invoke(cli, _command(sums, problems, folder)).exit_code == 0
    assert sum(sums.seen.values()) == 16 - stored
    assert len({row["id"] for row in _rows(folder)}) == 16
    assert not any(SECRET in path.read_text("utf-8") for path in folder.iterdir() if os.path.isfile(path))


def test_a_ratio_of_a_server_needs_its_tokenizer_folder(sums, problems, tiny_model, tmp_path):
    command = [*_command(sums, problems, tmp_path / "r"), "--ratio", "0.2"]
    refused = CliRunner().invoke(cli, command)
    assert (refused.exit_code, "--tokenizer" in refused.stderr) == (2, True)
    assert CliRunner().invoke(cli, [*command, "--tokenizer", str(tiny_model)]).exit_code == 0
    body, _ = sums.bodies[0]
    assert body["messages"][0]["content"].endswith(" <COMP_20>")
    assert (body["chat_template_kwargs"], body["skip_special_tokens"]) == ({"ratio": "none"}, False)
    assert _rows(tmp_path / "r")[0]["thinking_tokens"] == 3


def test_another_tokenizer_folder_is_another_run(sums, problems, tiny_model, tmp_path):
    counts = tmp_path / "counts"
    counts.mkdir()
    (counts / "tokenizer.json").write_bytes((tiny_model / "tokenizer.json").read_bytes())
    command = [*_command(sums, problems, tmp_path / "r"), "--tokenizer"]
    assert CliRunner().invoke(cli, [*command, str(counts)]).exit_code == 0
    renamed = counts.rename(tmp_path / "renamed")
    assert "nothing to do" in CliRunner().invoke(cli, [*command, str(renamed)]).stderr
    for arguments in ([*command, str(tiny_model)], command[:-1]):
        refused = CliRunner().invoke(cli, arguments)
        assert (refused.exit_code, "tokenizer_sha256 was" in refused.stderr) == (2, True), refused.output


@pytest.mark.parametrize(
    ("asked", "pause"), [("0", 0.5), ("-3", 0.5), ("nan", 0.5), ("0.7", 0.7), ("1e300", 60), ("soon", None)]
)
def test_a_server_cannot_make_a_request_repeat_at_once_or_wait_for_ever(asked, pause):
    from openai import APIStatusError

    class Busy(APIStatusError):
        def __init__(self):
            self.status_code, self.response = 429, SimpleNamespace(headers={"retry-after": asked})

    assert backend.requested_pause(Busy()) == pause
