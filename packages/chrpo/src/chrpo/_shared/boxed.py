# copied from packages/_shared/boxed.py; edit it there
r"""The balanced `\boxed{…}` of a text.

Which of them is the answer, and whether two answers are equal, is left to the callers.

    last_boxed(r"\boxed{1} and \boxed{\frac{1}{2}}, not \boxed{3")     # '\\frac{1}{2}'
"""

import re
from typing import NamedTuple

_BRACES = re.compile(r"\\(?:begin)?boxed\s*\{|\\fbox\s*\{|\\.|[{}]", re.DOTALL)


class Box(NamedTuple):
    """Offsets in the text: of the backslash, of the content's first character, and of the closing brace."""

    opening: int
    start: int
    end: int


def find_boxes(text: str) -> tuple[list[Box], bool]:
    r"""Every balanced box in order (of nested ones the innermost), and whether a box is left open.

    One pass over the text, so 20 000 unclosed braces cost no more than 20 000 letters.
    """
    stack: list[tuple[int, int]] = []
    boxes: list[Box] = []
    for match in _BRACES.finditer(text):
        token = match.group()
        if len(token) > len(r"\{"):
            stack.append((match.start(), match.end()))
        elif token == "{":
            stack.append((-1, -1))
        elif token == "}" and stack:
            opening, start = stack.pop()
            if start >= 0 and not (boxes and boxes[-1].opening > opening):
                boxes.append(Box(opening, start, match.start()))
    return boxes, any(start >= 0 for _, start in stack)


def last_boxed(text: str) -> str | None:
    r"""The content of the last balanced box, without surrounding white space; None if there is none.

    >>> last_boxed(r"\boxed{ \frac{1}{2} } or \boxed{3")
    '\\frac{1}{2}'
    """
    boxes, _ = find_boxes(text)
    return text[boxes[-1].start : boxes[-1].end].strip() if boxes else None
