r"""Is the final answer of a completion right? The default grader of training, in one process.

Plain numbers and equal strings are decided here; anything else goes to math-verify, which loads sympy the first time.
Nothing from a model is evaluated as code, but sympy runs inside the caller's process and its time limit needs the main
thread: grade at scale, or behind a server, with math-eval. Any `Callable[[str, str], bool]` can take this one's place.

    grade(r"<think>…</think>So \boxed{1/2}.", "0.5")     # True
"""

import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from ._shared.thinking import split_thinking
from .errors import ChrpoError

Grader = Callable[[str, str], bool]
"""(completion, reference answer) -> True if right."""

_MAX_ANSWER_CHARS = 200
_TIME_LIMIT_S = 5
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_NUMBER = re.compile(r"([-+]?)(\d{1,40})(?:\.(\d{1,40}))?(?:/(\d{1,40}))?")
_FRACTION = re.compile(r"([-+]?)\\[dt]?frac\{(\d{1,40})\}\{(\d{1,40})\}")
_SPACE = re.compile(r"\\[,!;: ]|\\left|\\right|\\?\$|(?<![\d\s])\s+|\s+(?![\d\s])")
_THOUSANDS = re.compile(r"(?<=\d)[,\s](?=\d{3}(?!\d))")
_COSTLY = re.compile(r"(\^|\*\*)[^+\-=,]*(\^|\*\*)|(\^|\*\*)\s*\{?\s*[-+]?\d{3}|!|\d{41}")
"""Towers of powers, huge exponents, factorials: cheap to write, ruinous to compute."""


def boxed_answers(text: str) -> list[str]:
    r"""The contents of every balanced `\boxed{…}`, outermost only, in order.

    >>> boxed_answers(r"\boxed{\frac{1}{2}} or \boxed{3")
    ['\\frac{1}{2}']
    """
    found: list[str] = []
    position = 0
    while match := _BOXED.search(text, position):
        depth, end = 1, match.end()
        while end < len(text) and depth:
            if text[end] == "\\":
                end += 1
            else:
                depth += (text[end] == "{") - (text[end] == "}")
            end += 1
        if depth:
            position = match.end()
        else:
            found.append(text[match.end() : end - 1].strip())
            position = end
    return found


def grade(completion: str, answer: str) -> bool:
    """True if the last balanced box after the thinking block holds the reference answer.

    Raises:
        ChrpoError: math-verify is needed and not installed.
    """
    boxes = boxed_answers(split_thinking(completion).answer)
    return bool(boxes) and same_answer(boxes[-1], answer)


def same_answer(candidate: str, answer: str) -> bool:
    """True if two answers are equal as text, as numbers, or to math-verify."""
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
    # A space between digits is one of a mixed number, a comma in brackets one of a pair, unless they part thousands.
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
    except ImportError as error:
        raise ChrpoError(
            f"grading {candidate!r} against {answer!r} needs math-verify: pip install 'chrpo[trl]', or pass a grader"
        ) from error
    gold = parse(rf"\boxed{{{answer}}}", parsing_timeout=_TIME_LIMIT_S)
    found = parse(rf"\boxed{{{candidate}}}", parsing_timeout=_TIME_LIMIT_S)
    return bool(verify(gold, found, timeout_seconds=_TIME_LIMIT_S))
