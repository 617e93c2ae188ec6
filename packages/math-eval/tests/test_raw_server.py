"""The client that continues a server's text, against an HTTP server that continues token ids with the tiny model."""

import json

import pytest
from click.testing import CliRunner

from math_eval.backends import Sampling
from math_eval.backends.stopping import Ask
from math_eval.cli import cli

pytest.importorskip("openai", reason="needs cot-math-eval[openai]")
pytestmark = pytest.mark.enable_socket
_MADE = (
    "id",
    "prompt",
    "completion",
    "completion_tokens",
    "thinking_tokens",
    "finish_reason",
    "verdict",
    "closing_text",
)


class _Continues:
    """Raw completions of the tiny model, greedy, as its transformers backend makes them.

    Its faults: `plain` sends no token ids, `deaf` ignores max_tokens, `again` opens a new block whenever it is asked
    to go on, and `failures` are the statuses of the next answers.
    """

    def __init__(self, serve, model):
        self.model, self.bodies, self.failures = model, [], []
        self.plain = self.deaf = self.again = False
        self.url = f"{serve(self.answer).url}/v1"

    def answer(self, request):
        assert request.path == "/v1/completions"
        body = json.loads(request.body)
        self.bodies.append(body)
        status = self.failures.pop(0) if self.failures else 200
        answer = {"error": {"message": "no credit"}} if status != 200 else self._continued(body)
        return status, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def _continued(self, body):
        if self.again and self.model.ids("</think>")[0] in body["prompt"]:
            return _answer("<think> so so so so so so </think> 1", None, 10, "stop")
        (made,) = self.model.extend([Ask(body["prompt"], 50 if self.deaf else body["max_tokens"])], Sampling(1), 0)
        ids = None if self.plain else made.ids + self.model.ends * made.ended
        reason = "stop" if made.ended else "length"
        return _answer(self.model.decode(made.ids), ids, len(made.ids) + made.ended, reason)


def _answer(text, ids, tokens, reason):
    choice = {"index": 0, "finish_reason": reason, "text": text, "token_ids": ids}
    return {"id": "x", "object": "text_completion", "created": 0, "model": "m", "choices": [choice], "usage": {
        "prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens,
    }}  # fmt: skip


@pytest.fixture(scope="module")
def model(tiny_model):
    from math_eval.backends.hf import HFModel

    return HFModel(tiny_model)


@pytest.fixture
def continues(serve, model):
    return _Continues(serve, model)


@pytest.fixture
def invoke(continues, problems, tiny_model, tmp_path):
    """`invoke(folder, *flags)` runs the tiny model behind the server; with `here=True` in this process."""

    def invoke(name, *flags, here=False):
        at_server = ["--model", "openai:m", "--base-url", continues.url, "--tokenizer", str(tiny_model)]
        where = ["--model", str(tiny_model)] if here else at_server
        common = ["--tasks", str(problems), "--instruction", "", "--max-tokens", "60", "--batch-size", "4"]
        return CliRunner().invoke(cli, ["run", *where, *common, *flags, "--output-dir", str(tmp_path / name)])

    return invoke


def _rows(folder):
    rows = [json.loads(line) for line in (folder / "samples_sums.jsonl").read_text("utf-8").splitlines()]
    return [{name: row.get(name) for name in _MADE} for row in rows]


@pytest.mark.parametrize("mode", ["budget=3", "none"])
def test_a_server_continues_as_the_model_in_this_process_does(continues, invoke, mode, tmp_path):
    flags = ["--thinking", mode, "--ratio", "none", "--ratio", "policy"]
    for name, plain in (("ids", False), ("text", True)):
        continues.plain = plain
        done = invoke(name, *flags)
        assert done.exit_code == 0, done.output
    assert invoke("here", *flags, here=True).exit_code == 0
    assert _rows(tmp_path / "ids") == _rows(tmp_path / "text") == _rows(tmp_path / "here")
    body = continues.bodies[0]
    assert (body["skip_special_tokens"], body["return_token_ids"], type(body["prompt"][0])) == (False, True, int)
    environment = json.loads((tmp_path / "ids" / "manifest.json").read_text("utf-8"))["environment"]
    assert {"openai", "transformers"} < set(environment)


def test_a_server_that_ignores_the_limit_is_reported_and_the_budget_holds(continues, invoke, tmp_path):
    continues.deaf = True
    done = invoke("deaf", "--thinking", "budget=3")
    assert done.exit_code == 0, done.output
    assert invoke("here", "--thinking", "budget=3", here=True).exit_code == 0
    words = "16 samples for which the server wrote more tokens than it was asked for; the surplus is cut off"
    assert words in done.stderr
    results = json.loads((tmp_path / "deaf" / "results.json").read_text("utf-8"))["conditions"][0]
    assert (results["limit_ignored"], results["closed_rate"]) == (16, 1)
    deaf, here = _rows(tmp_path / "deaf"), _rows(tmp_path / "here")
    for ours, theirs in zip(here, deaf, strict=True):
        assert theirs["completion"].partition(" </think>")[0] == ours["completion"].partition(" </think>")[0]


def test_a_model_that_thinks_on_after_the_budget_is_counted_and_reported(continues, invoke, tmp_path):
    """Three words, the two tags, and the six of the second block."""
    continues.again = True
    done = invoke("again", "--thinking", "budget=3")
    assert done.exit_code == 0, done.output
    assert "16 samples think longer than budget=3 permits, up to 11 tokens" in done.stderr
    results = json.loads((tmp_path / "again" / "results.json").read_text("utf-8"))["conditions"][0]
    assert results["over_budget"] == 16


def test_a_run_that_ends_between_the_two_steps_is_resumed_as_an_undisturbed_one(continues, invoke, tmp_path):
    flags = ["--thinking", "budget=3", "--temperature", "0.7", "--batch-size", "1"]
    assert invoke("whole", *flags).exit_code == 0
    seeds = {(str(body["prompt"]), body["seed"]) for body in continues.bodies}
    continues.bodies.clear()
    continues.failures = [200] * 9 + [403] * 9
    broken = invoke("broken", *flags)
    assert (broken.exit_code, "no credit" in broken.stderr) == (2, True), broken.output
    stored = len((tmp_path / "broken" / "samples_sums.partial.jsonl").read_bytes().splitlines())
    assert 0 < stored < 16
    continues.failures.clear()
    assert invoke("broken", *flags).exit_code == 0
    assert _rows(tmp_path / "broken") == _rows(tmp_path / "whole")
    assert {(str(body["prompt"]), body["seed"]) for body in continues.bodies} == seeds


def test_a_server_that_answers_with_nothing_refuses_and_never_asks_for_ever(continues, invoke, monkeypatch):
    monkeypatch.setattr(continues, "_continued", lambda body: _answer("", [], 0, "length"))
    done = invoke("empty", "--thinking", "budget=3")
    assert (done.exit_code, "an answer without a token" in done.stderr) == (2, True), done.output
