"""Replies and refusals that servers differ in: each ends as a completion, a further attempt, or an error of its row."""

import json
from contextlib import closing, suppress

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from math_eval.backends import Sampling
from math_eval.cli import cli
from math_eval.errors import DataError, MathEvalError

backend = pytest.importorskip("math_eval.backends.openai", reason="needs cot-math-eval[openai]")
from math_eval.backends.replies import ReplyError, read_reply  # noqa: E402

pytestmark = pytest.mark.enable_socket
WHERE = "http://s/v1"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(backend, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(backend, "_LONGEST_PAUSE_S", 0.02)


def reply(message=None, usage=None, **more):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "\\boxed{8}"}}
    if message is not None:
        choice["message"] = {"role": "assistant", **message}
    return {"choices": [choice], "usage": {"completion_tokens": 40} if usage is None else usage, **more}


def text_of(message):
    return read_reply(json.dumps(reply(message)).encode(), WHERE).text


def tokens_of(usage):
    found = read_reply(json.dumps(reply(usage=usage)).encode(), WHERE)
    return found.tokens, found.reasoning_tokens


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "so "}, {"type": "text", "text": "\\boxed{8}"}], "so \\boxed{8}"),
        ([{"type": "output_text", "text": "8"}], "8"),
        ([{"text": "8"}], "8"),
        ([], ""),
        ([{"type": "refusal", "refusal": "I will not add."}], "I will not add."),
        ([{"type": "thinking", "thinking": "5+3"}, {"type": "text", "text": "8"}], "<think>5+3</think>8"),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "5"}, {"type": "text", "text": "+3"}]}],
            "<think>5+3",
        ),
        ([{"type": "redacted_thinking", "data": "x9"}, {"type": "text", "text": "8"}], "8"),
        ([{"type": "reasoning", "summary": [{"text": "add"}]}, {"type": "text", "text": "8"}], "<think>add</think>8"),
    ],
)
def test_a_content_of_parts_is_their_text(content, text):
    assert text_of({"content": content}) == text


@given(st.lists(st.text()))
def test_parts_and_one_text_are_the_same_content(texts):
    parts = [{"type": "text", "text": text} for text in texts]
    assert text_of({"content": parts}) == text_of({"content": "".join(texts)})


@pytest.mark.parametrize(
    "part",
    [{"type": "image_url", "image_url": "x"}, {"type": 3}, {"type": ["text"]}, {"type": None}, "8", {"type": "text"}],
)
def test_a_part_that_is_no_text_is_refused_by_name(part):
    with pytest.raises(DataError, match=r"http://s/v1: (content|text): got"):
        text_of({"content": [part]})


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "5+3"},
        {"reasoning": "5+3"},
        {"thinking": "5+3"},
        {"reasoning_content": "", "reasoning": "5+3"},
        {"reasoning_content": "5+3", "reasoning": "5+3", "thinking_blocks": [{"type": "thinking", "thinking": "5+3"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "5+"}, {"type": "reasoning.text", "text": "3"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "5+3"}, {"type": "reasoning.encrypted"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "5+3", "signature": "s"}]},
    ],
)
def test_thinking_in_any_field_is_read_once(fields):
    assert text_of({"content": "8", **fields}) == "<think>5+3</think>8"
    assert text_of({"content": None, **fields}) == "<think>5+3"


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 9, "total_tokens": 49}, (40, None)),
        ({"completion_tokens": None, "prompt_tokens": 9, "total_tokens": 49, "reasoning_tokens": 30}, (40, 30)),
        ({"completion_tokens": 40, "completion_tokens_details": None, "total_tokens": None}, (40, None)),
        ({"completion_tokens": 40, "completion_tokens_details": {"reasoning_tokens": None}}, (40, None)),
        ({"completion_tokens": 40, "completion_tokens_details": {"reasoning_tokens": 0}}, (40, 0)),
        # thinking inside, and beside, the number of completion tokens
        (
            {
                "completion_tokens": 40,
                "prompt_tokens": 9,
                "total_tokens": 49,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            (40, 30),
        ),
        (
            {
                "completion_tokens": 10,
                "prompt_tokens": 9,
                "total_tokens": 49,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            (40, 30),
        ),
    ],
)
def test_counts_that_are_missing_follow_from_the_others(usage, counts):
    assert tokens_of(usage) == counts


@pytest.mark.parametrize("usage", [{}, {"total_tokens": 49}, {"prompt_tokens": 9, "total_tokens": 3}])
def test_a_count_that_follows_from_nothing_is_named(usage):
    with pytest.raises(DataError, match="completion_tokens: got null; expected a whole number"):
        tokens_of(usage)


@pytest.mark.parametrize(
    ("body", "words", "status"),
    [
        ({"error": {"code": 502, "message": "Upstream timeout"}}, "Upstream timeout", 502),
        ({"error": {"code": "rate_limited", "status": "429", "message": "slow down"}}, "slow down", 429),
        ({"error": {"message": "no such field", "type": "invalid_request_error"}}, "no such field", 400),
        ({"error": "overloaded"}, "overloaded", None),
        ({"error": {"code": 503}, "choices": None}, "503", 503),
        ({"error": {"type": ["x"], "code": {}, "message": {"a": 1}}}, "an error without words", None),
        ({"error": [1]}, "an error without words", None),
        ({"object": "error", "message": "too long", "code": 400}, "too long", 400),
        ({"choices": [{"error": {"code": 500, "message": "lost"}, "finish_reason": "error"}]}, "lost", 500),
        ({"choices": [], "usage": {"completion_tokens": 0}}, "without a choice", None),
        ({"choices": None}, "without a choice", None),
    ],
)
def test_an_error_in_an_answer_of_status_200_keeps_words_and_status(body, words, status):
    with pytest.raises(ReplyError, match=words) as found:
        read_reply(json.dumps(body).encode(), WHERE)
    assert found.value.status == status


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "text", "thinking"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "type", "thinking", "message", "code", "summary"]), inner)
    ),
)


@given(
    error=_VALUES,
    fields=st.dictionaries(st.sampled_from(["content", "reasoning", "reasoning_details", "thinking"]), _VALUES),
    usage=st.dictionaries(st.sampled_from(["completion_tokens", "prompt_tokens", "total_tokens"]), _VALUES),
    choice_error=_VALUES,
)
def test_an_answer_of_any_shape_is_read_or_refused(error, fields, usage, choice_error):
    body = reply(fields, usage, error=error)
    body["choices"][0]["error"] = choice_error
    with suppress(MathEvalError):
        found = read_reply(json.dumps(body).encode(), WHERE)
        assert isinstance(found.text, str)
        assert found.tokens >= 0


@given(st.integers(0, len(json.dumps(reply())) - 1))
def test_an_answer_cut_anywhere_is_tried_again(end):
    with pytest.raises(ReplyError, match=r"cut off|without content"):
        read_reply(json.dumps(reply()).encode()[:end], WHERE)


class Scripted:
    """A server that gives its next scripted answer (status, body), and a completion when none is left."""

    def __init__(self, serve, script=()):
        self.script, self.bodies = list(script), []
        self.url = f"{serve(self._answer).url}/v1"

    def _answer(self, request):
        self.bodies.append(json.loads(request.body))
        status, body = self.script.pop(0) if self.script else (200, reply())
        return (
            status,
            {"Content-Type": "application/json"},
            body if isinstance(body, bytes) else json.dumps(body).encode(),
        )


def ask(url, count=1, **options):
    with closing(backend.Server("m", [url], concurrency=1, **options)) as client:
        return [completion for _, completion, _ in client.stream(["add"] * count, Sampling(64), seeds=range(count))]


@pytest.mark.parametrize(
    "bad",
    [
        {"error": {"code": 502, "message": "Upstream timeout"}},
        {"error": "overloaded"},
        {"choices": [], "usage": {"completion_tokens": 0}},
        b'{"choices": [{"mess',
        b"",
    ],
)
def test_a_bad_answer_of_status_200_is_tried_again(serve, bad):
    server = Scripted(serve, [(200, bad)] * 2)
    assert ask(server.url)[0].text == "\\boxed{8}"
    assert len(server.bodies) == 3


def test_a_bad_answer_that_stays_ends_the_run_with_its_words(serve):
    server = Scripted(serve, [(200, {"error": {"code": 502, "message": "Upstream timeout"}})] * 99)
    with pytest.raises(MathEvalError, match=r"no answer for 0\.1 s \(Upstream timeout\); repeat the command"):
        ask(server.url, patience_s=0.1)


def test_an_error_for_every_request_ends_the_run_also_in_an_answer_of_status_200(serve):
    server = Scripted(serve, [(200, {"error": {"code": 401, "message": "unknown key"}})])
    with pytest.raises(DataError, match="refuses the request: unknown key"):
        ask(server.url, count=3)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_words_of_a_refusal_are_printable_and_without_the_key(serve, monkeypatch, status):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")
    error = {"message": "\x1b[31m sk-0123456789abcdef is too long", "code": status}
    for code, body in ((status, {"error": error}), (200, {"error": error})):
        refused = ask(Scripted(serve, [(code, body)]).url)[0].refused
        assert ("[key] is too long" in refused, "\x1b" in refused, "sk-0" in refused) == (True, False, False)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_is_a_completion_with_the_servers_words(serve, status):
    server = Scripted(serve, [(status, {"error": {"message": "too long for 4096 tokens"}})])
    first, second = ask(server.url, count=2)
    assert "too long for 4096 tokens" in first.refused
    assert (first.text, first.tokens, second.text, second.refused) == ("", 0, "\\boxed{8}", None)


def test_the_limit_gets_the_name_that_the_server_asks_for(serve):
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server = Scripted(serve, [(400, {"error": {"message": words, "code": "unsupported_parameter"}})])
    assert [one.refused for one in ask(server.url, count=2)] == [None, None]
    limits = [{name: body[name] for name in body if name.startswith("max_")} for body in server.bodies]
    assert limits == [{"max_tokens": 64}, {"max_completion_tokens": 64}, {"max_completion_tokens": 64}]


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens or max_completion_tokens is too large: 5000 (the context has 4096 tokens)",
        "max_tokens is not supported",
    ],
)
def test_the_limit_keeps_its_name_in_other_refusals(serve, words):
    server = Scripted(serve, [(400, {"error": {"message": words}})])
    assert words in ask(server.url)[0].refused
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        ({"content": None, "reasoning_content": "five and three"}, 40),
        ({"content": "", "reasoning": "five"}, 40),
        ({"content": "<think>five and three"}, 40),
        ({"content": "12345", "reasoning_content": "123"}, 15),
        ({"content": "<think>123</think>12345"}, 15),
        ({"content": "8"}, 0),
        ({"content": None}, 0),
    ],
)
def test_thinking_is_its_share_of_the_characters_without_tags(serve, message, tokens):
    assert ask(Scripted(serve, [(200, reply(message))]).url)[0].thinking_tokens == tokens


def command(url, problems, folder, *more):
    return [
        "run", "--model", "openai:m", "--base-url", url, "--tasks", str(problems), "--batch-size", "1",
        "--output-dir", str(folder), *more,
    ]  # fmt: skip


def rows_of(folder):
    return [json.loads(line) for line in (folder / "samples_sums.jsonl").read_text("utf-8").splitlines()]


def refusing(serve, wanted):
    """A server that refuses what `wanted` accepts of a request's text, and adds nothing wrongly otherwise."""

    def answer(request):
        text = json.loads(request.body)["messages"][0]["content"]
        if wanted(text):
            return 400, {}, json.dumps({"error": {"message": "too long \x1b[31m for this model"}}).encode()
        return 200, {"Content-Type": "application/json"}, json.dumps(reply()).encode()

    return f"{serve(answer).url}/v1"


def test_a_refused_request_is_an_error_of_its_row_and_the_run_says_so(serve, problems, tmp_path):
    url = refusing(serve, lambda text: text.endswith(("add 2 and 3", "add 0 and 0")))
    done = CliRunner().invoke(cli, command(url, problems, tmp_path / "r"))
    assert done.exit_code == 0, done.output
    assert "2 requests refused by the server, counted as errors; first: " in done.stderr
    assert "\x1b" not in done.output
    rows = {row["id"]: row for row in rows_of(tmp_path / "r")}
    assert len(rows) == 16
    refused = rows["sum-2-3"]
    assert (refused["verdict"], refused["extracted"], refused["completion"]) == ("error", None, "")
    assert "too long" in refused["refused"]
    assert [name for name, row in rows.items() if "refused" in row] == ["sum-0-0", "sum-2-3"]
    condition = json.loads((tmp_path / "r" / "results.json").read_text("utf-8"))["conditions"][0]
    assert (condition["n"], condition["verdicts"]["error"], condition["refused"]) == (16, 2, 2)
    assert "too long" in condition["first_refusal"]
    again = CliRunner().invoke(cli, ["grade", str(tmp_path / "r"), str(tmp_path / "g"), "--extraction", "reference"])
    assert "error 2" in again.stdout, again.output


@pytest.mark.parametrize("most", [3, 100])
def test_a_server_that_refuses_everything_is_no_result(serve, problems, tmp_path, monkeypatch, most):
    monkeypatch.setattr("math_eval.generate._MOST_REFUSED", most)
    folder = tmp_path / "r"
    failed = CliRunner().invoke(cli, command(refusing(serve, lambda _: True), problems, folder))
    assert (failed.exit_code, f"refuses every request, {min(most, 16)} of 16" in failed.stderr) == (2, True)
    assert "too long" in failed.stderr
    assert not (folder / "results.json").exists()
    assert (folder / "samples_sums.partial.jsonl").read_bytes() == b""


def test_a_run_that_was_begun_at_another_address_names_both(serve, problems, tmp_path):
    first = Scripted(serve, [(200, reply())] * 5 + [(403, {"error": {"message": "no credit"}})])
    second, folder = Scripted(serve), tmp_path / "r"
    assert CliRunner().invoke(cli, command(first.url, problems, folder)).exit_code == 2
    for server in (second, second):
        done = CliRunner().invoke(cli, command(server.url, problems, folder))
        assert done.exit_code == 0, done.output
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["base_urls"] == [first.url, second.url]
    assert (len(first.bodies), len(second.bodies)) == (6, 11)
