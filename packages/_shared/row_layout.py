"""How the rows of a stranger's corpus become rows of a contract: columns by name, and a conversation taken apart.

Reading files is left to `row_files`, which rows are set aside to `row_source`.

    layout = layout_of("answer=solution,sample:=0", messages="messages")
    layout.fit({"solution": "3", "messages": [{"role": "user", "content": "1 + 2?"},
                {"role": "assistant", "content": "<think>1 + 2 = 3</think>3"}]}, whole=False)
    # {'question': '1 + 2?', 'cot': '1 + 2 = 3', 'response': '3', 'answer': '3', 'sample': 0}
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from ..errors import DataError
from .settings_flags import Command
from .strict_json import parse_json
from .thinking import Parts
from .thinking_formats import given_format

_ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
_TURNS = [["user", "assistant"], ["system", "user", "assistant"]]
_THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking")
_SHOWN_CHARS = 60


class MisfitError(ValueError):
    """A row that cannot become a row of the contract.

    Args:
        reason: Short slug by which such rows are counted.
        detail: Explanation for this row.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Layout:
    """Which columns of a corpus become which fields. Every other column is carried under its name.

    A column that has the name of a field that is filled otherwise is replaced. The column of messages is not carried,
    because its texts are; the text of a system message becomes the field `system`.

    Args:
        columns: Name of the column for each field, such as `{"question": "problem"}`.
        constants: Value of each field that is equal in all rows, such as `{"model": "R1"}`.
        messages: Name of the column with a conversation of one question and one answer, or None.
        thinking_format: Format of the thinking in the conversation: a name, or a file like thinking_format.json.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    messages: str | None = None
    thinking_format: str = "think"

    def needed(self) -> list[str]:
        """Names of the columns that every row has."""
        return [*self.columns.values(), *([self.messages] if self.messages is not None else [])]

    def settings(self) -> dict[str, Any]:
        """Everything that changes the rows, as JSON values."""
        thinking = asdict(given_format(self.thinking_format)) if self.messages is not None else None
        return {
            "columns": dict(self.columns),
            "constants": dict(self.constants),
            "messages": self.messages,
            "thinking_format": thinking,
        }

    def fit(self, raw: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
        """The fields of a row.

        Args:
            raw: The row as it is in the corpus.
            whole: True for the field `completion` with the whole answer, False for `cot` and `response`.

        Raises:
            MisfitError: a column is missing, or the conversation is not one question and one answer with thinking.
        """
        missing = next((name for name in self.needed() if name not in raw), None)
        if missing is not None:
            raise MisfitError("missing_column", f"{missing}: the column is missing")
        fields = {} if self.messages is None else self._exchange(raw[self.messages], whole)
        fields |= {name: raw[column] for name, column in self.columns.items()}
        fields |= self.constants
        used = {*self.needed(), *fields}
        return {**fields, **{name: value for name, value in raw.items() if name not in used}}

    def _exchange(self, messages: Any, whole: bool) -> dict[str, Any]:
        """The fields of a conversation."""
        turns = _turns(messages, str(self.messages))
        roles = [role for role, _, _ in turns]
        if roles not in _TURNS:
            raise MisfitError(
                "other_turns",
                f"{self.messages}: turns of {', '.join(roles) or 'nobody'}; expected one of the user and one of the "
                "assistant, perhaps after one of the system",
            )
        fields = {"system": turns[0][1]} if len(turns) > 2 else {}
        thinking_format = given_format(self.thinking_format)
        _, answer, thinking = turns[-1]
        completion = answer if thinking is None else thinking_format.join(thinking, answer)
        fields["question"] = turns[-2][1]
        if whole:
            return {**fields, "completion": completion}
        if thinking is not None:
            return {**fields, "cot": thinking.strip(), "response": answer.strip()}
        parts = self._thinking_parts(completion, thinking_format.parts(completion))
        return {**fields, "cot": parts.text.strip(), "response": parts.answer.strip()}

    def _thinking_parts(self, completion: str, parts: Parts) -> Parts:
        """The parts of an answer that is one closed block of thinking and a response.

        Raises:
            MisfitError: it is something else.
        """
        if not (parts.opening or parts.closing):
            reason, fault = "no_thinking", f"no thinking between the tags of format {self.thinking_format!r}"
        elif not parts.closing:
            reason, fault = "open_thinking", "the thinking is never closed"
        elif parts.before.strip():
            reason, fault = "text_before_thinking", "there is text before the thinking"
        else:
            return parts
        raise MisfitError(reason, f"{self.messages}: {fault}; the answer begins with {completion[:_SHOWN_CHARS]!r}")


def _turns(messages: Any, column: str) -> list[tuple[str, str, str | None]]:
    """Role, text and separate thinking of each turn; `role` and `content` may be called `from` and `value`."""
    if not isinstance(messages, list):
        raise MisfitError("no_conversation", f"{column}: got {_shown(messages)}; expected a list of turns")
    turns: list[tuple[str, str, str | None]] = []
    for at, turn in enumerate(messages):
        found = turn if isinstance(turn, dict) else {}
        said = found.get("role", found.get("from"))
        role = _ROLES.get(said) if isinstance(said, str) else None
        text = found.get("content", found.get("value"))
        thinking = next((found[name] for name in _THINKING_FIELDS if found.get(name)), None)
        if role is None:
            raise MisfitError("no_conversation", f"{column}.{at}: role is {_shown(said)}; expected user or assistant")
        if not isinstance(text, str) or not isinstance(thinking, str | None):
            raise MisfitError("no_conversation", f"{column}.{at}: content is {_shown(text)}; expected text")
        turns.append((role, text, thinking))
    return turns


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."


def layout_of(columns: str | None, messages: str | None, thinking_format: str | None = None) -> Layout | None:
    """The layout that a command was called with; None without one, for rows of the contract itself.

    Args:
        columns: Value of `--columns`: `field=column` or `field:=value`, a constant in JSON, separated by commas.
        messages: Value of `--messages`.
        thinking_format: Value of `--thinking-format`.

    Raises:
        DataError: `columns` is something else.
    """
    named: dict[str, str] = {}
    constants: dict[str, Any] = {}
    for part in (columns or "").split(",") if columns is not None else []:
        found = re.fullmatch(r"\s*(\w+)(:?=)(.+?)\s*", part)
        if found is None or found[1] in {*named, *constants}:
            raise DataError(
                f"--columns: got {part!r}; expected each field once, as field=column or field:=value in JSON"
            )
        if found[2] == "=":
            named[found[1]] = found[3]
        else:
            constants[found[1]] = parse_json(found[3], f"--columns: {found[1]}")
    if not (named or constants or messages):
        return None
    return Layout(named, constants, messages, thinking_format or "think")


def layout_options(command: Command) -> Command:
    """A decorator that adds `--columns` and `--messages`."""
    messages = click.option(
        "--messages",
        metavar="COLUMN",
        help="Column with a conversation; its question, thinking and response are taken out of it.",
    )
    columns = click.option(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="Names that the corpus has for our fields, such as question=problem,cot=thinking; FIELD:=VALUE is a "
        "constant in JSON. Rows that do not fit are then rejected.",
    )
    return columns(messages(command))
