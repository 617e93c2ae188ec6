r"""The default grader of training: whether the final answer of a completion is correct.

Plain numbers and equal strings are compared here. Everything else is left to math-verify, which loads sympy at its
first use. No text of a model is run as code, but sympy runs in the caller's process and its time limit needs the main
thread; to grade many answers, or behind a server, use math-eval. Any `Callable[[str, str], bool]` can replace this
grader.

>>> grade(r"<think>1 + 1 = 2</think>So \boxed{1/2}.", "0.5")
True
"""

import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from ._shared.boxed import last_boxed
from ._shared.thinking import split_thinking
from .errors import ChrpoError

Grader = Callable[[str, str], bool]
"""Function (completion, reference answer) -> True if the answer is correct."""

_MAX_ANSWER_CHARS = 200
_TIME_LIMIT_S = 5
_NUMBER = re.compile(r"([-+]?)(\d{1,40})(?:\.(\d{1,40}))?(?:/(\d{1,40}))?")
_FRACTION = re.compile(r"([-+]?)\\[dt]?frac\{(\d{1,40})\}\{(\d{1,40})\}")
_SPACE = re.compile(r"\\[,!;: ]|\\left|\\right|\\?\$|(?<![\d\s])\s+|\s+(?![\d\s])")
_THOUSANDS = re.compile(r"(?<=\d)[,\s](?=\d{3}(?!\d))")
_COSTLY = re.compile(
    r"""
    (\^|\*\*) [^+\-=,]* (\^|\*\*)
    | (\^|\*\*) [\s+-]* [{(\[] [^})\]]* (\^|\*\*)
    | (\^|\*\*) [\s+-]* \d{3}
    | (\^|\*\*) [\s+-]* [{(\[] (\\[dt]?frac | \\cdot | \\times | [^A-Za-z\\})\]])* \d{3}
    | (\^|\*\*) [\s+-]* \{ [\s+-]* ((\\cdot | \\times | \{,\} | [^A-Za-z\\}+\-=/\d])* \d){3}
    | (\^|\*\*) [\s+-]* [(\[] [\s+-]* ((\\cdot | \\times | \{,\} | [^A-Za-z\\)\]+\-=/\d])* \d){3}
    | ! | \d{41}
    """,
    re.VERBOSE,
)
"""Towers of powers, factorials, and exponents with three digits or more: short to write, and very long to compute."""


def grade(completion: str, answer: str) -> bool:
    """True if the last balanced box after the thinking block contains the reference answer.

    Args:
        completion: Text of the completion, with its thinking block.
        answer: Reference answer.

    Raises:
        ChrpoError: math-verify is needed and not installed.
    """
    found = last_boxed(split_thinking(completion).answer)
    return found is not None and same_answer(found, answer)


def same_answer(candidate: str, answer: str) -> bool:
    """True if two answers are equal as text, as numbers, or according to math-verify."""
    left, right = _plain(candidate), _plain(answer)
    if left == right:
        return bool(left)
    numbers = _number(left), _number(right)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if not left or len(left) > _MAX_ANSWER_CHARS or _COSTLY.search(left):
        return False
    return _verify(candidate, answer)


def _plain(text: str) -> str:
    # Between digits, a space belongs to a mixed number, and a comma in brackets to a pair, unless it parts thousands.
    text = _SPACE.sub("", text).rstrip(".")
    return text if text.startswith(("(", "[")) else _THOUSANDS.sub("", text)


def _number(text: str) -> Fraction | None:
    if match := _FRACTION.fullmatch(text):
        sign, above, below = match.groups()
        decimals = ""
    elif match := _NUMBER.fullmatch(text):
        sign, above, decimals, below = match.groups()
    else:
        return None
    decimals = decimals or ""
    divisor = int(below or 1) * 10 ** len(decimals)
    if not divisor:
        return None
    return Fraction(int(f"{sign}{above}{decimals}"), divisor)


@lru_cache(maxsize=1 << 16)
def _verify(candidate: str, answer: str) -> bool:
    try:
        from math_verify import parse, verify
    except ModuleNotFoundError as error:
        raise ChrpoError(
            f"grading {candidate!r} against {answer!r} needs math-verify: pip install 'chrpo[trl]', or pass a grader"
        ) from error
    gold = parse(rf"\boxed{{{answer}}}", parsing_timeout=_TIME_LIMIT_S)
    found = parse(rf"\boxed{{{candidate}}}", parsing_timeout=_TIME_LIMIT_S)
    return bool(verify(gold, found, timeout_seconds=_TIME_LIMIT_S))
