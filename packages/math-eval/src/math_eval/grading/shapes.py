r"""Answers made of parts: tuples, intervals, sets, bare lists, `\pm`, unions, matrices and equations.

The parts are only split here; comparing them is left to `exact`.

>>> sequence(r"(3, x]")
Sequence(brackets='(]', parts=['3', 'x'])
>>> sequence(r"1 \pm y")
Sequence(brackets='', parts=['1 + y', '1 - y'])
>>> matrix(r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"), equation("y = 2x + 3")
([['1'], ['2']], ('y', '2x + 3'))
"""

import re
from typing import NamedTuple

_OPENERS, _CLOSERS = "([{", ")]}"
_MAX_DEPTH = 12
_MATRIX = re.compile(r"\\begin\{([pb]?matrix)\}(.*)\\end\{\1\}", re.DOTALL)
_PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])")
_GROUPED = re.compile(r"\d,\d{3}(?!\d)")
_RELATION = re.compile(r"[<>]|\\(?:leq|geq|neq|ne|lt|gt|in|equiv|approx)(?![A-Za-z])")


class Sequence(NamedTuple):
    """The brackets ("" without any) and the elements of a list."""

    brackets: str
    parts: list[str]

    @property
    def ordered(self) -> bool:
        """Whether the order of the elements matters, as it does except in sets and bare lists."""
        return self.brackets not in ("", "{}")


def sequence(text: str) -> Sequence | None:
    r"""A tuple, interval, set or bare list with at least two elements; `a \pm b` has two.

    The result is None for other text, and for text with a comma as in `1,234`, which may be one number.
    """
    text = text.strip().replace(r"\{", "{").replace(r"\}", "}")
    brackets = ""
    if text and text[0] in _OPENERS and text[-1] in _CLOSERS and _closes_at_end(text):
        brackets, text = text[0] + text[-1], text[1:-1]
    parts = _split(text)
    if parts is None or not all(parts) or _GROUPED.search(text):
        return None
    if brackets in ("", "{}"):
        parts = [choice for part in parts for choice in _choices(part)]
    return Sequence(brackets, parts) if len(parts) > 1 else None


def _closes_at_end(text: str) -> bool:
    r"""Whether the first bracket is closed by the last character: not in `(1,2) \cup (3,4)`."""
    depth = 0
    for index, char in enumerate(text):
        depth += (char in _OPENERS) - (char in _CLOSERS)
        if depth == 0:
            return index == len(text) - 1
    return False


def _split(text: str) -> list[str] | None:
    """The parts between top-level commas, or None if brackets do not match or are nested too deeply."""
    depth, start, parts = 0, 0, list[str]()
    for index, char in enumerate(text):
        depth += (char in _OPENERS) - (char in _CLOSERS)
        if not 0 <= depth <= _MAX_DEPTH:
            return None
        if char == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return None if depth else [*parts, text[start:].strip()]


def _choices(part: str) -> list[str]:
    signs = _PLUS_MINUS.findall(part)
    return [_PLUS_MINUS.sub(sign, part) for sign in "+-"] if len(signs) == 1 else [part]


def union(text: str) -> list[str] | None:
    r"""The sets joined by `\cup`, or None."""
    parts = [part.strip() for part in re.split(r"\\cup(?![A-Za-z])", text)]
    return parts if len(parts) > 1 and all(parts) else None


def matrix(text: str) -> list[list[str]] | None:
    """The cells of a matrix, row by row; None for other text, determinants included."""
    match = _MATRIX.fullmatch(text.strip())
    if match is None or r"\begin" in match[2]:
        return None
    rows = [row for row in match[2].split(r"\\") if row.strip()]
    return [[cell.strip() for cell in row.split("&")] for row in rows]


def equation(text: str) -> tuple[str, str] | None:
    """Both sides of an equation with a single `=`, or None."""
    left, _, right = text.partition("=")
    if not right or "=" in right or _RELATION.search(text):
        return None
    return left.strip(), right.strip()
