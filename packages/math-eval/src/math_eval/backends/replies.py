"""The answer of a server: each field that a run uses, checked for its type.

Servers differ in where they put the thinking and in what they count. An answer of status 200 that reports an error, or
is cut off, is a `ReplyError`. Sending requests, and repeating them, is left to `openai`.

    read_reply(raw.http_response.content, "http://127.0.0.1:8000/v1")   # Reply(text='…', tokens=20, …)
"""

import json
from dataclasses import dataclass
from typing import Any

from math_eval._shared.thinking import THINK, ThinkingFormat
from math_eval.errors import DataError, MathEvalError

_MOST_TOKENS, _MOST_IDS = 2**53, 2**31
_THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
_THINKING_TEXTS = ("thinking", "reasoning", "text", "summary")
_ANSWER_TEXTS = {"text": "text", "output_text": "text", "refusal": "refusal"}
_BAD_REQUEST_TYPES = ("invalid_request_error", "BadRequestError")
_BAD_REQUEST = 400


class ReplyError(MathEvalError):
    """An answer of status 200 without a completion; the message contains the server's own words.

    Args:
        words: The server's words, or what is missing.
        status: The HTTP status that the answer names, or None.
    """

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True)
class Reply:
    """The fields of a chat completion that a run uses.

    Args:
        text: The generated text, with the thinking of a separate field in tags.
        tokens: Number of generated tokens.
        reasoning_tokens: Number of thinking tokens that the server reports, or None.
        finish_reason: `stop`, or `length` if the token limit was reached.
    """

    text: str
    tokens: int
    reasoning_tokens: int | None
    finish_reason: str


def read_reply(content: bytes, where: str, thinking_format: ThinkingFormat = THINK) -> Reply:
    """The answer of a server.

    Args:
        content: The body of its answer.
        where: Description of the server, which opens the message of an error.
        thinking_format: Tags that are put around thinking that comes in a field of its own.

    Raises:
        DataError: It is not a chat completion, or a field has a wrong type.
        ReplyError: It reports an error, is cut off, or has no choice.
    """
    read = _Fields(where)
    choice, (tokens, reasoning_tokens) = _choice(content, read)
    message = read.get(choice, "message", dict)
    return Reply(_text(read, message, thinking_format), tokens, reasoning_tokens, _finish_reason(choice))


@dataclass(frozen=True)
class RawReply:
    """The fields of a raw completion that a run uses.

    Args:
        text: The generated text.
        ids: Its token ids, the end token included, or None: only some servers send them.
        tokens: Number of generated tokens.
        finish_reason: `stop`, or `length` if the token limit was reached.
    """

    text: str
    ids: list[int] | None
    tokens: int
    finish_reason: str


def read_raw_reply(content: bytes, where: str) -> RawReply:
    """The answer of a server that continued a text; arguments and errors are those of `read_reply`."""
    read = _Fields(where)
    choice, (tokens, _) = _choice(content, read)
    ids = read.optional(choice, "token_ids", list)
    if ids is not None and not all(type(each) is int and 0 <= each < _MOST_IDS for each in ids):
        raise DataError(f"{where}: token_ids: not all of them are ids; use another server")
    return RawReply(read.get(choice, "text", str), ids, tokens, _finish_reason(choice))


def _choice(content: bytes, read: "_Fields") -> tuple[dict[str, Any], tuple[int, int | None]]:
    """The choice in an answer, and the numbers of its tokens."""
    answer = _parse(content, read.where)
    choice = read.get({"choice": answer["choices"][0]}, "choice", dict)
    if error := choice.get("error"):
        raise _reported(error)
    if answer.get("usage") is None:
        raise DataError(f"{read.where}: the server reports no token usage; use one that does")
    return choice, _counts(read, read.get(answer, "usage", dict))


def _finish_reason(choice: dict[str, Any]) -> str:
    return "length" if choice.get("finish_reason") == "length" else "stop"


def _parse(content: bytes, where: str) -> dict[str, Any]:
    """The object of a chat completion, which has at least one choice."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        if not content.strip():
            raise ReplyError("an answer without content") from None
        if content.lstrip().startswith(b"{") and isinstance(error, ValueError):
            raise ReplyError("an answer that is cut off, or not JSON") from None
        answer = None
    if isinstance(answer, dict):
        if error := answer.get("error") or (answer if answer.get("object") == "error" else None):
            raise _reported(error)
        if "choices" in answer and not answer["choices"] and isinstance(answer["choices"], list | None):
            raise ReplyError("an answer without a choice")
        if isinstance(answer.get("choices"), list):
            return answer
    raise DataError(f"{where}: the answer is not a chat completion; does the address end in /v1?")


def _reported(error: object) -> ReplyError:
    """The error that an answer reports: a text, or an object with a message and a status."""
    fields = error if isinstance(error, dict) else {"message": error}
    codes = (str(code) for name in ("code", "status", "status_code") if isinstance(code := fields.get(name), int | str))
    status = next((int(code) for code in codes if code in _STATUSES), None)
    if status is None and fields.get("type") in _BAD_REQUEST_TYPES:
        status = _BAD_REQUEST
    words = fields.get("message")
    return ReplyError(words if words and isinstance(words, str) else f"an error without words, status {status}", status)


def _counts(read: "_Fields", usage: dict[str, Any]) -> tuple[int, int | None]:
    """Number of generated tokens, and of thinking tokens among them or None.

    A missing number of generated tokens is total - prompt. Some servers leave the thinking out of it; the total shows
    that, too.
    """
    details = read.optional(usage, "completion_tokens_details", dict) or {}
    total, prompt = (read.count(usage, name) for name in ("total_tokens", "prompt_tokens"))
    reasoning = read.count(details, "reasoning_tokens")
    if reasoning is None:
        reasoning = read.count(usage, "reasoning_tokens")
    tokens = read.count(usage, "completion_tokens")
    rest = None if total is None or prompt is None or total < prompt else total - prompt
    if tokens is None:
        tokens = read.get(usage, "completion_tokens", int) if rest is None else rest
    elif rest and reasoning and rest == tokens + reasoning:
        tokens = rest
    return tokens, reasoning


def _text(read: "_Fields", message: dict[str, Any], thinking_format: ThinkingFormat) -> str:
    """The generated text. Fields of thinking repeat each other, so the first one with text counts."""
    thinking, answer = read.parts(message, "content")
    for name in _THINKING_FIELDS:
        if found := "".join(read.parts(message, name)):
            thinking = found
            break
    return thinking_format.join(thinking, answer or None) if thinking else answer


@dataclass(frozen=True)
class _Fields:
    """Reads fields of an answer; a wrong type is an error that names the server."""

    where: str

    def get(self, holder: dict[str, Any], name: str, kind: type) -> Any:
        value = holder.get(name)
        if type(value) is not kind:
            # Never the text of a value, which may contain the API key.
            shown = json.dumps(value)[:60] if isinstance(value, int | float | None) else _KINDS[type(value)]
            raise DataError(
                f"{self.where}: {name}: got {shown}; expected {_KINDS[kind]}; use a server that sends chat completions"
            )
        return value

    def optional(self, holder: dict[str, Any], name: str, kind: type) -> Any:
        return None if holder.get(name) is None else self.get(holder, name, kind)

    def count(self, holder: dict[str, Any], name: str) -> Any:
        value = self.optional(holder, name, int)
        if value is not None and not 0 <= value < _MOST_TOKENS:
            raise DataError(
                f"{self.where}: {name}: got {str(value)[:60]}; expected a number of tokens; use another server"
            )
        return value

    def parts(self, holder: dict[str, Any], name: str) -> tuple[str, str]:
        """Thinking and answer in a field that is a text or a list of parts."""
        if not isinstance(holder.get(name), list):
            return "", self.optional(holder, name, str) or ""
        thinking, answer = "", ""
        for part in holder[name]:
            kind = self.get({name: part}, name, dict).get("type", "text")
            kind = kind if isinstance(kind, str) else ""
            if kind in _ANSWER_TEXTS:
                answer += self.get(part, _ANSWER_TEXTS[kind], str)
            elif "thinking" in kind or "reasoning" in kind:
                thinking += self._thinking(part)
            else:
                raise DataError(f"{self.where}: {name}: got a part that is no text; ask a model that answers in text")
        return thinking, answer

    def _thinking(self, part: dict[str, Any]) -> str:
        """The text of a thinking part, which may be a list of texts; an encrypted one has none."""
        name = next((name for name in _THINKING_TEXTS if part.get(name)), None)
        if name is None:
            return ""
        if not isinstance(part[name], list):
            return self.get(part, name, str)
        return "".join(self.get(self.get({name: one}, name, dict), "text", str) for one in part[name])


_KINDS = {dict: "an object", list: "a list", str: "text", int: "a whole number"}
_STATUSES = set(map(str, range(400, 600)))
