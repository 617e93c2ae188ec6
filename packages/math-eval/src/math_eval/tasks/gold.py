r"""Reference answers as datasets write them, turned into the text that the grader reads.

Each function undoes one habit. Whether two answers are equal is left to `grading`.

    as_text(27.0)                                 # '27'
    last_box(r"so $x = \boxed{\frac{1}{2}}$.")    # '\frac{1}{2}'
    scientific("4.5e33")                          # '4.5 \times 10^{33}'
"""

import re

from math_eval.errors import DataError
from math_eval.grading.extract import last_boxed

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_SCIENTIFIC = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))[eE]([-+]?\d+)")
_DOLLAR = re.compile(r"(?<!\\)\$")


def as_text(value: object) -> str:
    """An answer as text: whole floats lose their `.0`, lists are joined by commas.

    Raises:
        DataError: neither text, a number, nor a list of them.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return scientific(str(value))
    if isinstance(value, list):
        return ", ".join(map(as_text, value))
    if isinstance(value, str):
        return value.strip()
    raise DataError(f"answer: got {value!r}; expected text, a number or a list of them")


def last_box(solution: str) -> str | None:
    r"""The content of the last `\boxed{…}` alone, or of a `\boxed 5` without braces, up to the formula's end.

    MATH ends its solutions in one box; earlier ones hold other spellings of the answer.
    """
    boxes = list(_BOX.finditer(solution))
    if not boxes:
        return None
    boxed = last_boxed(solution[boxes[-1].start() :])[0]
    return (boxed if boxed is not None else solution[boxes[-1].end() :].partition("$")[0]).strip() or None


def after(text: str, mark: str) -> str | None:
    """What follows the last `mark`, or None."""
    _, found, answer = text.rpartition(mark)
    return answer.strip() or None if found else None


def scientific(text: str) -> str:
    """`4.5e33` in LaTeX; anything else as it is."""
    match = _SCIENTIFIC.fullmatch(text)
    return rf"{match[1]} \times 10^{{{int(match[2])}}}" if match else text


def without_dollars(text: str) -> str:
    r"""Formulas without their `$` delimiters, `\$` kept: `$69$,$84$` is the list 69,84."""
    return _DOLLAR.sub("", text).strip()
