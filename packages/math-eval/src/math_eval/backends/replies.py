"""The answer of a server: each field that a run uses, checked for its type.

Sending requests is left to `openai`.

    read_reply(raw.http_response.content, "http://127.0.0.1:8000/v1")   # Reply(text='…', tokens=20, …)
"""

import json
from dataclasses import dataclass
from typing import Any

from math_eval._shared.thinking import CLOSE, OPEN
from math_eval.errors import DataError

_MOST_TOKENS = 2**53


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


def read_reply(content: bytes, where: str) -> Reply:
    """The answer of a server.

    Args:
        content: The body of its answer.
        where: Description of the server, which opens the message of an error.

    Raises:
        DataError: It is not a chat completion, or a field has a wrong type.
    """
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(choices := answer.get("choices"), list) or not choices:
        raise DataError(f"{where}: the answer is not a chat completion; does the address end in /v1?")
    if answer.get("usage") is None:
        raise DataError(f"{where}: the server reports no token usage; use one that does")
    read = _Fields(where)
    choice, usage = read.get({"choice": choices[0]}, "choice", dict), read.get(answer, "usage", dict)
    message = read.get(choice, "message", dict)
    text = read.optional(message, "content", str) or ""
    reasoning = read.optional(message, "reasoning_content", str) or read.optional(message, "reasoning", str)
    if reasoning:
        text = f"{OPEN}{reasoning}{CLOSE if text else ''}{text}"
    details = read.optional(usage, "completion_tokens_details", dict) or {}
    return Reply(
        text,
        read.count(read.get(usage, "completion_tokens", int), "completion_tokens"),
        read.count(read.optional(details, "reasoning_tokens", int), "reasoning_tokens"),
        "length" if choice.get("finish_reason") == "length" else "stop",
    )


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

    def count(self, value: Any, name: str) -> Any:
        if value is not None and not 0 <= value < _MOST_TOKENS:
            raise DataError(
                f"{self.where}: {name}: got {str(value)[:60]}; expected a number of tokens; use another server"
            )
        return value


_KINDS = {dict: "an object", list: "a list", str: "text", int: "a whole number"}
