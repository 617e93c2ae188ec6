r"""Boxed answers: `\boxed{…}` and its variants, signs and factors beside a box, and several boxes that are one answer.

>>> boxed_answer(r"so $x = -\boxed 8$")
('-8', False)
>>> boxed_answer(r"$x=\boxed{4}$ and $y=\boxed{7}$", parts=2)
('x=4, y=7', False)
"""

import re
from functools import lru_cache

from math_eval._shared.boxed import Box, find_boxes

_VARIANT = re.compile(
    r"\\\\boxed(?=\s*\{)|\x08oxed(?=\s*\{)|(?<![A-Za-z\\])boxed(?=\{)|\\(?:framebox|Boxed|bbox)(?:\s?\[[^\]\n]{0,20}\])?(?=\s*\{)"
)
_BARE = re.compile(
    r"\\(?:boxed|fbox|framebox)(?:(?=[\d(\[\\$-])|[ \t]+(?=[^\s{]))"
    r"(?:\$([^$\n]{1,60})\$|(?=([^{}$\n]{1,60}?)[.,;]?\$)\2|(\([^()\n]{1,60}\)|\\[A-Za-z]+(?:\{[^{}\n]{0,60}\}|\d){0,3}|-?[\w./^%]*[\w%]))"
)
_COMMAND = re.compile(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\[A-Za-z]+|sqrt|sin|cos|tan|log|ln|exp|pi")
_WORD = re.compile(r"[A-Za-z]{2,}")
_JOINER = re.compile(r"[\s$,]|\\[()]|\\q?quad|\\,|\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b")
_APART = re.compile(r"[.;\n](?!\d)")
_MAX_LINK_WORDS = 4
_NAME = re.compile(r"(?<![A-Za-z\\])([A-Za-z](?:_\w|_\{\w{1,3}\})?)\s*=\s*$")
_FACTOR = r"(?:\d+(?:\.\d+)?|\\d?frac\{[^{}]{1,12}\}\{[^{}]{1,12}\}|\\sqrt(?:\{[^{}]{1,12}\}|\d)|\\pi)"
_BEFORE = re.compile(
    rf"(?:[=$(\[]|\\[(\[]|\\(?:approx|le|ge|leq|geq|in))\s*([-+]|\\pm)?\s*((?:{_FACTOR}\s*){{0,3}})(?:\\cdot|\\times|\*)?\s*$"
)
_POWER_OF_TEN = r"\\(?:times|cdot)\s*10\s*\^\s*\{?-?\d{1,4}\}?"
_AFTER = re.compile(
    rf"\s*((?:{_POWER_OF_TEN})?(?:\\cdot\s*)?"
    r"(?:\\sqrt(?:\{[^{}]{1,12}\}|\d)|\\pi|\^\{?\w{1,4}\}?|\\?%|\s)*)\s*(?:\$|\\[)\]])"
)
_NEAR = 60


def boxed_answer(text: str, parts: int = 1, *, ordered: bool = False) -> tuple[str | None, bool]:
    r"""The content of the last balanced `\boxed{…}` or list of boxes, and, if there is none, whether one is unclosed.

    Args:
        text: Text with boxes.
        parts: Number of requested answers; up to this number of boxes in one sentence are one list, whatever is between
            them.
        ordered: Whether these answers are a tuple.
    """
    boxes, unclosed = _boxes(text := with_braces(text))
    if not boxes:
        return None, unclosed
    last = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        between = text[box.end + 1 : last[-1].opening]
        name = _name_before(text, box)
        if name and name == _name_before(text, last[-1]):  # `x = 2 or x = 3`
            between = _NAME.sub("", between)
        joined = re.search(",|and|or", between) and not _JOINER.sub("", between)
        if not joined and (len(last) >= parts or not _is_short(between)):
            break
        last.append(box)
    if len(last) == 1:
        return _with_factors(text, last[0]), False
    return _joined(text, last[::-1], ordered and len(last) == parts), False


@lru_cache(maxsize=16)
def _boxes(text: str) -> tuple[list[Box], bool]:
    """The boxes of a text, which several rules of the extraction ask for."""
    return find_boxes(text) if "box" in text else ([], False)


def last_box_end(text: str) -> int:
    """The end of the last balanced box in a text that `with_braces` returned, or -1."""
    boxes, _ = _boxes(text)
    return boxes[-1].end if boxes else -1


def with_braces(text: str) -> str:
    r"""The text with every box written as `\boxed{…}` or `\fbox{…}`."""
    if "box" not in text and "oxed" not in text:
        return text
    return _BARE.sub(lambda match: rf"\boxed{{{next(filter(None, match.groups()))}}}", _VARIANT.sub(r"\\boxed", text))


def _joined(text: str, boxes: list[Box], ordered: bool) -> str:
    contents = [text[box.start : box.end].strip() for box in boxes]
    names = list(filter(None, (_name_before(text, box) for box in boxes)))
    if len(set(names)) == len(boxes):
        return ", ".join(f"{name}={content}" for name, content in zip(names, contents, strict=True))
    if ordered:
        return f"({', '.join(contents)})"
    return ", ".join(filter(None, dict.fromkeys(contents)))


def _name_before(text: str, box: Box) -> str:
    r"""The name whose value a box is, as in `$x = \boxed{2}$`, or an empty string."""
    match = _NAME.search(text[max(0, box.opening - _NEAR) : box.opening])
    return match[1] if match else ""


def _is_short(link: str) -> bool:
    """Whether two boxes with this text between them belong together: it has few words and ends no sentence."""
    return not _APART.search(link) and len(_WORD.findall(_COMMAND.sub(" ", link))) <= _MAX_LINK_WORDS


def _with_factors(text: str, box: Box) -> str:
    r"""The content of a box, with a sign and factors that stand beside it in its formula, as in `-\boxed{8}`."""
    content = text[box.start : box.end]
    if not content.strip():
        return content
    before = text[max(0, box.opening - _NEAR) : box.opening].rpartition("\n")[2]
    after = text[box.end + 1 : box.end + 1 + _NEAR]
    left, right = _BEFORE.search(before), _AFTER.match(after)
    sign, factor = (left[1] or "", left[2].strip()) if left else ("", "")
    further = right[1].strip() if right else ""
    if sign == "+" or not (sign or factor or further) or (factor and _WORD.search(_COMMAND.sub(" ", content))):
        return content
    if (
        factor
        or (further and not further.startswith(("%", r"\%")))
        or (sign and re.search(r"[-+,=<>]", content.lstrip("-+ ")[1:]))
    ):
        content = (
            rf"\left({content}\right)"
            if re.search(r"[-+]", content.strip()[1:]) or further.startswith("^")
            else content
        )
    times = r" \cdot " if factor else ""
    return f"{sign}{factor}{times}{content}{further}".strip()
