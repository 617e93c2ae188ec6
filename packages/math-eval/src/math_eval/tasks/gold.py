r"""Reference answers as datasets write them, converted to the text that the grader reads.

Each function handles one convention. Whether two answers are equal is left to `grading`.

>>> as_text(27.0), as_text([1.0, "x"])
('27', '1, x')
>>> print(last_box(r"so $x = \boxed{\frac{1}{2}}$."), scientific("4.5e33"))
\frac{1}{2} 4.5 \times 10^{33}
"""

import re

from math_eval._shared.boxed import last_boxed
from math_eval.errors import DataError

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_SCIENTIFIC = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))[eE]([-+]?\d+)")
_DOLLAR = re.compile(r"(?<!\\)\$")


def as_text(value: object) -> str:
    """An answer as text; whole numbers have no `.0`, and the elements of a list are joined by commas.

    Raises:
        DataError: The value is neither text nor a number nor a list of these.
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
    r"""The content of the last `\boxed{…}`; of `\boxed 5` without braces, the text up to the end of the formula.

    MATH solutions end in one box; earlier boxes have other spellings of the answer.
    """
    boxes = list(_BOX.finditer(solution))
    if not boxes:
        return None
    boxed = last_boxed(solution[boxes[-1].start() :])
    return (boxed if boxed is not None else solution[boxes[-1].end() :].partition("$")[0]).strip() or None


def after(text: str, mark: str) -> str | None:
    """The text after the last `mark`, or None."""
    _, found, answer = text.rpartition(mark)
    return answer.strip() or None if found else None


def scientific(text: str) -> str:
    """`4.5e33` in LaTeX; any other text unchanged."""
    match = _SCIENTIFIC.fullmatch(text)
    return rf"{match[1]} \times 10^{{{int(match[2])}}}" if match else text


def without_dollars(text: str) -> str:
    r"""The text without the `$` delimiters of formulas: `$69$,$84$` becomes `69,84`. `\$` is kept."""
    return _DOLLAR.sub("", text).strip()
