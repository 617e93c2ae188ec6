"""One model behind several servers, some of which die, stall, fail or answer nonsense: no row is lost or made twice."""

import json
import re
import threading
import time
from collections import Counter
from contextlib import closing, suppress

import pytest
from click.testing import CliRunner

from math_eval._shared.server_choice import ServerChoice
from math_eval.backends import Sampling
from math_eval.cli import cli
from math_eval.errors import DataError, MathEvalError

backend = pytest.importorskip("math_eval.backends.openai", reason="needs cot-math-eval[openai]")
pytestmark = pytest.mark.enable_socket
_TIMEOUT_S = 3
_NONSENSE = {"nonsense": {"status": "ok"}, "type": {"choices": [{"message": {"content": 3}}], "usage": {}}}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(backend, "_FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(backend, "_LONGEST_PAUSE_S", 0.05)


class Adds:
    """Adds the numbers of a question, each request after what the schedule says; behind its end, as `then` says."""

    def __init__(self, serve, schedule=(), then="ok"):
        self.lock, self.seen, self.well = threading.Lock(), Counter(), threading.Event()
        self.schedule, self.then = list(schedule), then
        self.before = lambda: None
        self.http = serve(self.answer)
        self.url = f"{self.http.url}/v1"

    def answer(self, request):
        question = json.loads(request.body)["messages"][0]["content"]
        with self.lock:
            self.seen[question] += 1
            step = self.schedule.pop(0) if self.schedule else self.then
        self.before()
        answer = json.dumps(_NONSENSE.get(step) or _completion(question)).encode()
        if step == "die":
            self.http.stop()
            threading.Timer(0.1, self.http.start).start()
            raise ConnectionAbortedError
        if step == "stall":
            time.sleep(2 * _TIMEOUT_S)
        if step == "ok":
            self.well.set()
        status = int(step) if step.isdigit() else 200
        if status != 200:
            answer = json.dumps({"error": {"message": f"status {status}"}}).encode()
        return status, {"Content-Type": "application/json"}, answer[:40] if step == "cut" else answer


def _completion(question):
    one, two = map(int, re.findall(r"\d+", question)[:2] or (0, 0))
    message = {"role": "assistant", "content": f"<think>{one} + {two}</think> \\boxed{{{one + two}}}"}
    return {"choices": [{"finish_reason": "stop", "message": message}], "usage": {"completion_tokens": 20}}


def ask(servers, count=12, **options):
    with closing(backend.Server("m", [server.url for server in servers], **options)) as client:
        found = client.stream([f"add {n} and 1" for n in range(count)], Sampling(64), seeds=range(count))
        answers = [(index, completion) for index, completion, _ in found]
    assert sorted(index for index, _ in answers) == list(range(count))
    return dict(answers)


def run(servers, problems, folder, *more):
    addresses = [part for server in servers for part in ("--base-url", server.url)]
    command = [
        "run", "--model", "openai:m", *addresses, "--tasks", str(problems), "--instruction", "", "--batch-size", "6",
        "--timeout", str(_TIMEOUT_S), "--output-dir", str(folder), *more,
    ]  # fmt: skip
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    return done


def rows(folder):
    timed = ("latency_s", "wall_s", "server")
    found = [json.loads(line) for line in (folder / "samples_sums.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name not in timed} for row in found], found


@pytest.mark.parametrize(
    "schedules",
    [
        (["ok", "die", "ok", "stall"], ["500", "cut", "ok", "429", "503"]),
        (["nonsense", "ok", "type", "401"], ["stall", "die", "404"]),
    ],
)
def test_samples_equal_those_of_one_good_server(serve, problems, tmp_path, schedules):
    run([Adds(serve)], problems, tmp_path / "one")
    good, *others = servers = [Adds(serve), *(Adds(serve, schedule) for schedule in schedules)]
    good.before = lambda: time.sleep(0.05)
    done = run(servers, problems, tmp_path / "three")
    ours, full = rows(tmp_path / "three")
    assert ours == rows(tmp_path / "one")[0]
    assert len({row["id"] for row in ours}) == 16
    assert {row["server"] for row in full} <= {server.url for server in servers}
    for server in others:
        assert done.stderr.count(f"{server.url}: ") == 1, done.stderr
    manifest = json.loads((tmp_path / "three" / "manifest.json").read_text("utf-8"))
    assert manifest["base_urls"] == [server.url for server in servers]
    results = [json.loads((tmp_path / name / "results.json").read_text("utf-8")) for name in ("one", "three")]
    for condition in (condition for result in results for condition in result["conditions"]):
        condition.pop("latency_s")
        condition.pop("samples_per_s")
    assert results[0] == results[1]


@pytest.mark.parametrize("fault", ["500", "cut", "nonsense", "401", "307"])
def test_a_server_that_was_set_aside_is_tried_again(serve, fault):
    """The good server is slow from its fifth request on, until the other one has answered."""
    good, other = Adds(serve), Adds(serve, [fault, fault])
    good.before = lambda: other.well.wait(1.5) if sum(good.seen.values()) > 4 else None
    lines = []
    answers = ask([other, good], concurrency=2, notify=lines.append)
    assert other.well.is_set()
    assert {answer.server for answer in answers.values()} == {good.url, other.url}
    (line,) = lines
    assert line.startswith(f"{other.url}: ")
    assert line.endswith("; its requests go to the other servers, and it is tried again later")


def test_requests_go_to_the_server_with_the_fewest_in_flight(serve):
    servers = [Adds(serve) for _ in range(3)]
    all_there = threading.Barrier(6, timeout=60)
    for server in servers:
        server.before = all_there.wait
    ask(servers, count=6, concurrency=6)
    assert [sum(server.seen.values()) for server in servers] == [2, 2, 2]


def test_a_request_that_one_server_refuses_goes_to_another(serve):
    strict, good = Adds(serve, then="400"), Adds(serve)
    answers = ask([strict, good], concurrency=1)
    assert [answer.refused for answer in answers.values()] == [None] * 12
    answers = ask([strict, Adds(serve, then="413")], count=3, concurrency=1)
    assert {answer.refused.partition(" - ")[0] for answer in answers.values()} == {"Error code: 413"}
    away = Adds(serve, ["503"] * 4)
    assert [answer.refused for answer in ask([strict, away], count=2, concurrency=1).values()] == [None] * 2
    gone = Adds(serve, then="503")
    answers = ask([strict, gone], count=2, concurrency=1, patience_s=0.2)
    assert {answer.refused.partition(" - ")[0] for answer in answers.values()} == {"Error code: 400"}


def test_a_fault_of_every_server_ends_the_run_at_once(serve):
    servers = [Adds(serve, then="nonsense"), Adds(serve, then="401")]
    with pytest.raises(DataError, match=r"not a chat completion|the server refuses the request"):
        ask(servers)


def test_servers_that_all_stay_away_end_the_run(serve):
    servers = [Adds(serve, then="503"), Adds(serve, then="nonsense")]
    with pytest.raises(MathEvalError, match=r"no answer for 0\.2 s .*repeat the command"):
        ask(servers, patience_s=0.2)


def test_a_request_that_fails_everywhere_is_an_error_of_its_own(serve):
    """Each server fails at it and answers others."""
    servers = [Adds(serve), Adds(serve)]
    for server in servers:
        answer = server.answer
        server.http.answer = lambda request, answer=answer: (
            (500, {}, b'{"error": {"message": "CUDA error"}}') if b"add 3 and 1" in request.body else answer(request)
        )
        server.http.stop()
        server.http.start()
    answers = ask(servers, concurrency=3)
    assert [index for index, answer in answers.items() if answer.refused] == [3]
    assert "(9 times, while another request was answered)" in answers[3].refused


def test_an_address_is_named_once():
    with pytest.raises(DataError, match="http://h/v1 is given twice"):
        ServerChoice(["http://h/v1", "http://h/v1"])


def test_one_request_at_a_time_tries_a_server_that_failed():
    choice = ServerChoice(["http://a/v1", "http://b/v1"], first_pause_s=1e-9, longest_pause_s=1e-9)
    with choice.asking() as bad:
        assert choice.failed(bad)
    with choice.asking() as trial, choice.asking() as one, choice.asking() as two:
        assert (trial, one, two) == (bad, choice.endpoints[1], choice.endpoints[1])
        choice.answered(trial)
    assert not choice.failed(trial)
    with suppress(RuntimeError), choice.asking(without=choice.endpoints[1:]) as only:
        assert only is bad
        raise RuntimeError
    assert bad.in_flight == bad.trials == 0


def test_a_success_does_not_shorten_the_pause_of_a_later_failure():
    choice = ServerChoice(["http://a/v1", "http://b/v1"])
    bad, good = choice.endpoints
    choice.failed(bad, at_least_s=3600)
    choice.answered(bad)
    assert not bad.is_ready()
    assert choice.is_any_ready()
    assert not choice.is_any_ready(without=[good])
