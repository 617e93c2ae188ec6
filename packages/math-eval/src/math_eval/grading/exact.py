r"""The fast path: equality that plain strings and exact fractions can decide, without sympy.

`decide` answers True, False or None (not sure: ask math-verify). Numbers are compared as fractions, so rounding
never makes two different values equal. Our choices, since graders differ: `50\%` equals both 0.5 and 50; a unit
written on one side only is ignored; two different units are left to math-verify; a list without brackets has no order.

    decide(r"\frac{1}{2}", "0.50")        # True
    decide("1,000", "1000 dollars")       # True
    decide(r"\sqrt{8}", r"2\sqrt{2}")     # None
"""

import re
from fractions import Fraction

_FULL_WIDTH = {**{0xFF01 + i: 0x21 + i for i in range(94)}, 0x2212: "-", 0x2013: "-", 0x00D7: r"\times ", 0x00A0: " "}
_WRAPPED = re.compile(r"\\\((.*)\\\)|\\\[(.*)\\\]|\$\$(.*)\$\$|\$(.*)\$|\*\*(.*)\*\*", re.DOTALL)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{(.*)\}", re.DOTALL)
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:left|right|displaystyle|textstyle|bigl?|bigr|limits)(?![A-Za-z])", ""),
        (r"\{,\}", ","),
        (r"(?<=\d),\\!\s*(?=\d{3})", ","),
        (r"(?<=\d)\\[,!:; ](?=\d{3}(?!\d))", ","),
        (r"(?<=\d)[\u2009\u202f\u00a0](?=\d{3}(?!\d))", ","),
        (r"\\[,!:;>](?![A-Za-z])|\\q?quad(?![A-Za-z])|\\ |~", " "),
        (r"\\mbox(?![A-Za-z])|\\textbf(?![A-Za-z])|\\mathrm(?![A-Za-z])|\\textrm(?![A-Za-z])", r"\\text"),
        (r"\\([$%])", r"\1"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])|°", r" \\text{degrees}"),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"\\frac\s*\{([^{}]*)\}\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\sqrt\s*(\d)", r"\\sqrt{\1}"),
        (r"([_^])\{(\w)\}", r"\1\2"),
        (r"\\(?:ldots|dots|cdots)(?![A-Za-z])", "..."),
        (r"\\(?:le|leq)(?![A-Za-z])", r"\\leq "),
        (r"\\(?:ge|geq)(?![A-Za-z])", r"\\geq "),
        (r"\*\*", "^"),
    )
)
_SPACED_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_SPACES = re.compile(r"[ \t\r\n]+")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_SPACE_AROUND = re.compile(r"\s*([^\w\s])\s*|(?<=[^\d\s])\s+(?=\S)|(?<=\S)\s+(?=[^\d\s])")
_LEFT_SIDE = re.compile(r"^[A-Za-z](?:_\w)?\s*(?:=|\\in(?![A-Za-z]))\s*")
_NUMBER = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?")
_FRACTION = re.compile(r"([-+]?)\s*(\d*)\s*\\frac\{\s*([-+]?[\d.,]+)\s*\}\{\s*([-+]?[\d.,]+)\s*\}")
_SLASHED = re.compile(r"([-+]?)\s*(?:(\d+)\s+)?([\d.,]+)\s*/\s*([\d.,]+)")
_UNIT = re.compile(
    r"^\s*(.*?[\d.}])\s*(?:\\text\s*\{\s*([^{}\d]*?)\s*\}|(?<=\d)\s+([A-Za-z][A-Za-z .]*))\s*(?:\^\s*\{?[23]\}?)?\s*$"
)
_WORD = re.compile(r"[A-Za-z]{2,}")
_FUNCTIONS = {"pi", "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "mod", "infinity", "inf"}
_JOINERS = {"and", "or", "to", "times", "plus", "minus", "over", "base", "choose", "factorial", "squared", "cubed"}
_PARTS = {"half", "halves", "third", "thirds", "quarter", "quarters", "percent"}
_MULTIPLIERS = {"dozen", "hundred", "thousand", "million", "billion", "trillion"}
_NOT_UNITS = _FUNCTIONS | _JOINERS | _PARTS | _MULTIPLIERS
_OPENERS, _CLOSERS = "([{", ")]}"
_Sequence = tuple[str, list[str]]


def decide(answer: str, gold: str) -> bool | None:
    """Whether two answers are equal: True, False, or None if this module cannot tell."""
    left, right = normalise(answer), normalise(gold)
    if not left or not right:
        return None
    if squeeze(left) == squeeze(right):
        return True
    numbers = _same_number(left, right)
    if numbers is not None:
        return numbers
    words = _same_words(left, right)
    if words is not None:
        return words
    return _same_sequence(left, right)


def normalise(text: str) -> str:
    """One spelling for answers that differ in typography only; spaces that may carry meaning are kept."""
    text = _SPACES.sub(" ", text.translate(_FULL_WIDTH)).strip()
    for pattern in (_WRAPPED, _BOX, _WRAPPED):
        if wrapped := pattern.fullmatch(text):
            text = next((group for group in wrapped.groups() if group is not None), "").strip()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = text.strip().removesuffix(".").strip()
    if _SPACED_THOUSANDS.fullmatch(text):
        text = text.replace(" ", ",")
    return text[1:].strip() if text.startswith("$") else re.sub(r"^-\s*\$\s*", "-", text)


def squeeze(text: str) -> str:
    r"""`text` without spaces (but between digits and words), `\text{}` wrappers and a leading `x =`."""
    text = _LEFT_SIDE.sub("", _TEXT.sub(r" \1 ", text).strip())
    return _SPACE_AROUND.sub(lambda match: match.group(1) or "", " ".join(text.split()))


def as_fraction(text: str) -> tuple[Fraction, bool] | None:
    """The exact value of a plain number, and whether it was a percentage; None if `text` is anything else."""
    text = _LEFT_SIDE.sub("", text.strip())
    bare = re.sub(r"\s*(?:%|\\text\s*\{\s*percent\s*\}|(?<=\d)\s+percent)$", "", text)
    value = _plain(bare)
    return None if value is None else (value, bare != text)


def _plain(text: str) -> Fraction | None:
    if any(char.isdigit() for char in text) and text.isascii() and _NUMBER.fullmatch(text):
        return Fraction(text.replace(",", "").rstrip("."))
    match = _FRACTION.fullmatch(text) or _SLASHED.fullmatch(text)
    if match is None or not text.isascii():
        return None
    sign, whole, above, below = match.groups()
    top, bottom = _plain(above), _plain(below)
    if top is None or not bottom or (whole and (top < 0 or bottom < 0)):
        return None
    value = Fraction(whole or 0) + top / bottom
    return -value if sign == "-" else value


def _without_unit(text: str) -> tuple[str, str]:
    """A quantity and its unit ("" if it has none, or if the words may be mathematics)."""
    match = _UNIT.match(text)
    if match is None:
        return text, ""
    unit = (match.group(2) or match.group(3) or "").strip().rstrip(".").lower()
    if not unit or (any(len(word) < 2 or word in _NOT_UNITS for word in unit.split()) and match.group(2) is None):
        return text, ""
    return (text, "") if set(unit.split()) & _NOT_UNITS else (match.group(1), unit)


def _same_number(left: str, right: str) -> bool | None:
    (left_value, left_unit), (right_value, right_unit) = _without_unit(left), _without_unit(right)
    if left_unit and right_unit and left_unit != right_unit:
        return None
    one, two = as_fraction(left_value), as_fraction(right_value)
    if one is None or two is None:
        return None
    (a, a_percent), (b, b_percent) = one, two
    return a == b or (a_percent and a == 100 * b) or (a_percent and a / 100 == b) or (b_percent and b / 100 == a)


def _same_words(left: str, right: str) -> bool | None:
    r"""Names and choices, such as `\text{Evelyn}` or `(C)`; a lone small letter may be a variable, so it is no word."""
    one, two = (_TEXT.sub(r"\1", text).strip().strip("().").strip() for text in (left, right))
    if len(one) == len(two) == 1 and one.isascii() and two.isascii() and one.isupper() and two.isupper():
        return one == two
    words = [text.split() for text in (one, two)]
    for parts in words:
        if not parts or not all(_WORD.fullmatch(part) and part.lower() not in _NOT_UNITS for part in parts):
            return None
    return [part.lower() for part in words[0]] == [part.lower() for part in words[1]]


def _sequence(text: str) -> _Sequence | None:
    """The brackets and top-level elements of a tuple, interval, set or bare list."""
    text = _LEFT_SIDE.sub("", text.strip()).replace(r"\{", "{").replace(r"\}", "}")
    brackets = ""
    if text and text[0] in _OPENERS and text[-1] in _CLOSERS:
        brackets, text = text[0] + text[-1], text[1:-1]
    depth, start, parts = 0, 0, list[str]()
    for index, char in enumerate(text):
        depth += (char in _OPENERS) - (char in _CLOSERS)
        if depth < 0:
            return None
        if char == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    parts.append(text[start:].strip())
    if depth or len(parts) < 2 or not all(parts):
        return None
    grouped = any(re.fullmatch(r"\d{3}(\.\d+)?", part) for part in parts[1:])
    return None if grouped and ", " not in text else (brackets, parts)


def _same_sequence(left: str, right: str) -> bool | None:
    one, two = _sequence(left), _sequence(right)
    if one is None or two is None or one[0] != two[0]:
        return None
    brackets, parts, others = one[0], one[1], two[1]
    if brackets in ("", "{}"):
        return _same_members(parts, others)
    if len(parts) != len(others):
        return False
    verdicts = [True if squeeze(a) == squeeze(b) else _same_number(a, b) for a, b in zip(parts, others, strict=True)]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _same_members(parts: list[str], others: list[str]) -> bool | None:
    """Compare without order; only if every member is a plain number."""
    values: list[list[Fraction]] = []
    for members in (parts, others):
        numbers = [as_fraction(member) for member in members]
        if any(number is None or number[1] for number in numbers):
            return None
        values.append(sorted({number[0] for number in numbers if number is not None}))
    return values[0] == values[1]
