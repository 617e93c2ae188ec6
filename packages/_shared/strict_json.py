"""Strict JSON: no NaN, no infinity, no number beyond a float, no field twice; errors name the place and the fault.

Files and schemas are left to `records`.

    parse_json('{"id": "1"}', "row 1")                   # {'id': '1'}
"""

import json
import math
from collections import Counter
from typing import Any

from ..errors import DataError

_LARGEST_BITS = 1023
TOO_DEEP = "nested too deeply to be a record; flatten it"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON; write null or a finite number")


class _TooLargeError(ValueError):
    """A number that a float cannot hold, or only as infinity."""


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _TooLargeError(text)
    return value


def _finite_integer(text: str) -> int:
    value = int(text)
    if value.bit_length() > _LARGEST_BITS:
        raise _TooLargeError(text)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"field {twice!r} is given twice")
    return row


_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_finite, parse_int=_finite_integer, object_pairs_hook=_unique
)


def _lenient(text: str) -> Any:
    """The value with infinite numbers in it; None if the text has further faults."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _infinite(value: Any) -> str | None:
    """The path of a number that is infinite or beyond every float, or None."""
    left = [("", value)]
    while left:
        path, each = left.pop()
        if math.isinf(each) if isinstance(each, float) else isinstance(each, int) and each.bit_length() > _LARGEST_BITS:
            return path
        items = [*(each.items() if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ())]
        left += [(f"{path}.{name}".removeprefix("."), inner) for name, inner in reversed(items)]
    return None


def parse_json(text: str, where: str, *, kind: str = "JSON") -> Any:
    """Parse strict JSON (no NaN or Infinity).

    Args:
        text: Text to parse.
        where: Place that an error names.
        kind: Kind of the file that an error asks for.

    Raises:
        DataError: the text is not strict JSON; the message names the place and the fault.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise DataError(f"{where}: {TOO_DEEP}") from error
    except _TooLargeError as error:
        field = _infinite(_lenient(text)) or "value"
        raise DataError(f"{where}: {field}: the number is too large for a float (about 1.8e308); mend it") from error
    except ValueError as error:
        remedy = "is it incomplete?" if kind == "JSON" else f"is the file incomplete or not {kind}?"
        raise DataError(f"{where}: not JSON ({_fault(error, text)}); {remedy}") from error


def _fault(error: ValueError, text: str) -> str:
    """What is wrong, and at which column; the line only if there are several."""
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    end = len(text.rstrip())
    at = json.JSONDecodeError(error.msg, text, min(error.pos, end))
    line = f"line {at.lineno}, " if "\n" in text[:end] else ""
    fault = error.msg.removesuffix(" at")
    return f"{fault} at {line}column {at.colno}"
