r"""The fast path: equality by exact arithmetic, without sympy.

`decide` returns True, False or None (uncertain, left to math-verify). Rounding never makes two different values equal.
Our choices, because graders differ: `50\%` equals both 0.5 and 50. A unit on one side only is ignored, two known
units must be equal, and unknown units are left to math-verify. A list without brackets has no order. A decimal comma is
accepted if the other answer is the same number with a point.

>>> decide(r"\frac{1}{2}", "0.50"), decide("1,000", "1000 dollars"), decide(r"\sqrt{8}", r"2\sqrt{2}")
(True, True, True)
>>> decide("0.333", r"\frac{1}{3}"), decide(r"\sin^2 x", r"1-\cos^2 x")
(False, None)
"""

import re
from itertools import chain, pairwise

from .expression import read, same_value
from .number import as_digits, as_fraction, same_with_comma
from .polynomial import proportional
from .shapes import equation, matrix, sequence, union
from .spelling import normalise, split_choice, split_name, squeeze, words
from .unit import changes_the_number, different_units, without_unit

_MAX_CHARS = 600
_MAX_PAIRS = 256
_COMMA = re.compile(r"[-+]?\d+,\d+")
_COUNTS = {"many", "all", "every"}
_TRUTHS = {"none", "no", "yes", "never", "always", "true", "false", "undefined", "infinite", "dne", "empty", "reals"}


def decide(answer: str, gold: str) -> bool | None:
    """Whether two answers are equal; None if this module cannot decide."""
    left, right = normalise(answer), normalise(gold)
    if not left or not right:
        return None
    if len(left) + len(right) > _MAX_CHARS:
        return True if squeeze(left) == squeeze(right) else _same_number(left, right)
    return _same(left, right)


def _same(left: str, right: str) -> bool | None:
    if squeeze(left) == squeeze(right) or same_with_comma(left, right):
        return True
    (left_name, left), (right_name, right) = _named(left), _named(right)
    if left_name != right_name:
        if (left_name and right_name) or equation(left) or equation(right):
            return None
        if squeeze(left) == squeeze(right):
            return True
    for rule in (
        _same_choice,
        _same_number,
        _same_words,
        _same_digits,
        _same_parts,
        _same_matrix,
        _same_equation,
        _different_kinds,
    ):
        verdict = rule(left, right)
        if verdict is not None:
            return verdict
    return None


def _named(text: str) -> tuple[str, str]:
    """The name before `=` and the rest; the elements of a bare list keep their names."""
    parts = sequence(text)
    return ("", text) if parts and not parts.brackets else split_name(text)


def _same_choice(left: str, right: str) -> bool | None:
    """Whether a choice with its value, such as `(B) 12`, equals a letter, a value or another such choice."""
    one, two = split_choice(left), split_choice(right)
    if one and two:
        return _same_in_order(list(one), list(two))
    choice, other = (one, right) if one else (two, left)
    if choice is None or not _is_value(choice[1]):
        return None
    return _same(choice[0] if words(other) else choice[1], other)


def _same_number(left: str, right: str) -> bool | None:
    (left, left_unit), (right, right_unit) = _with_units(left, right)
    if left_unit and right_unit and left_unit != right_unit:
        return False if different_units(left_unit, right_unit) else None
    if changes_the_number(left) != changes_the_number(right):
        return False
    one, two = as_fraction(left), as_fraction(right)
    if one is None or two is None:
        return same_value(left, right)
    (a, a_percent), (b, b_percent) = one, two
    if (a_percent and right_unit) or (b_percent and left_unit):
        return None
    return a == b or (a_percent and a / 100 == b) or (b_percent and b / 100 == a)


def _with_units(left: str, right: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Both quantities with their units; if one side has a unit, a single letter on the other may be a unit, too."""
    one, two = without_unit(left), without_unit(right)
    if one[1] and not two[1]:
        two = without_unit(right, letters=True)
    elif two[1] and not one[1]:
        one = without_unit(left, letters=True)
    return one, two


def _same_words(left: str, right: str) -> bool | None:
    one, two = words(left), words(right)
    return None if one is None or two is None else one == two


def _same_digits(left: str, right: str) -> bool | None:
    """Whether numbers with a base as subscript are equal; None for equal ones in two bases or without a base."""
    one, two = as_digits(left), as_digits(right)
    if one and two:
        return one == two if one.value != two.value or one.written == two.written else None
    digits, other = (one, right) if one else (two, left)
    if digits is None or not _is_constant(other):
        return None
    same = [same_value(str(number), other) for number in digits]
    return False if same == [False, False] else None


def _same_parts(left: str, right: str) -> bool | None:
    """Whether lists are equal: tuples and intervals in order, sets and bare lists in any order, unions by spelling."""
    joined, others = union(left), union(right)
    if joined and others:
        return True if _same_members(joined, others) else None
    one, two = sequence(left), sequence(right)
    if one is None or two is None:
        return None
    if (left.startswith(r"\{") and two.ordered) or (right.startswith(r"\{") and one.ordered):
        return False
    if not (one.ordered and two.ordered):
        verdict = _same_members(one.parts, two.parts)
        return None if verdict and (one.ordered or two.ordered) else verdict
    verdict = _same_in_order(one.parts, two.parts)
    return None if verdict and one.brackets != two.brackets else verdict


def _same_in_order(parts: list[str], others: list[str]) -> bool | None:
    if len(parts) != len(others):
        return False
    verdicts = [_same(one, two) for one, two in zip(parts, others, strict=True)]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _same_members(parts: list[str], others: list[str]) -> bool | None:
    """Whether each member has an equal one on the other side; None for `x=1,y=2`, where the names matter."""
    if len(parts) * len(others) > _MAX_PAIRS or len({split_name(part)[0] for part in parts + others} - {""}) > 1:
        return None
    table = [[_same(one, two) for two in others] for one in parts]
    lines = [*table, *map(list, zip(*table, strict=True))]
    if any(all(verdict is False for verdict in line) for line in lines):
        return False
    return True if all(True in line for line in lines) else None


def _same_matrix(left: str, right: str) -> bool | None:
    one, two = matrix(left), matrix(right)
    if one is None or two is None:
        return None
    cells, others = (list(chain.from_iterable(rows)) for rows in (one, two))
    if [len(row) for row in one] != [len(row) for row in two]:
        return None if len(cells) == len(others) else False
    return _same_in_order(cells, others)


def _same_equation(left: str, right: str) -> bool | None:
    """True for equations that are multiples of each other, False for an equation and a number on neither side of it."""
    one, two = equation(left), equation(right)
    if one and two:
        first, second = (read(f"({sides[0]})-({sides[1]})") for sides in (one, two))
        if first is None or second is None or len(first.value.bottom) * len(second.value.bottom) != 1:
            return None
        whole = () in first.value.bottom and () in second.value.bottom
        return True if whole and proportional(first.value.top, second.value.top) else None
    sides, other = (one, right) if one else (two, left)
    if sides is None or not _is_constant(other):
        return None
    return False if all(same_value(side, other) is False for side in sides) else None


def _different_kinds(left: str, right: str) -> bool | None:
    """False for a number or a name compared with several values, and for a name compared with a number."""
    if left.lower() == right.lower():
        return None
    for one, two in ((left, right), (right, left)):
        if (_is_value(one) or _is_name(one)) and _is_several(two):
            return False
        if _is_name(one) and _is_constant(two):
            return False
    return None


def _is_value(text: str) -> bool:
    found = read(without_unit(text)[0])
    return as_fraction(text) is not None or (found is not None and not found.words)


def _is_constant(text: str) -> bool:
    bare = without_unit(text)[0]
    found = read(bare)
    return as_fraction(bare) is not None or (found is not None and not found.value.letters())


def _is_name(text: str) -> bool:
    found = words(text)
    return found is not None and len(found) == 1 and found[0].lower() not in _COUNTS | _TRUTHS


def _is_several(text: str) -> bool:
    """Whether the text is a tuple, an interval, a union, a matrix, or a list of values that are not all equal."""
    cells, parts = matrix(text), sequence(text)
    if cells is not None or union(text):
        return cells is None or len(cells) + len(cells[0]) > 2
    if parts is None or _COMMA.fullmatch(text):
        return False
    return parts.ordered or any(_same(one, two) is False for one, two in pairwise(parts.parts))
