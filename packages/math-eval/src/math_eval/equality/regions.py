r"""Sets of real numbers: intervals, unions, differences, set builders and inequalities in one letter, in a normal form.

The normal form is a list of disjoint intervals in rising order, with points as intervals of length zero. Ends are
compared exactly; only their order comes from their approximate values. Sets with letters in their ends are left to the
caller.

>>> from math_eval.reading import read
>>> region(read(r"\mathbb{R}\setminus\\{5\\}").tree) == region(read(r"(-\infty,5)\cup(5,\infty)").tree)
True
"""

import math
from typing import NamedTuple

from math_eval.reading.tree import Tree, name, number, show, walk

from .numeric import approximate

_INFINITY = name("infty")
_MAX_INTERVALS = 64
_MAX_WHOLE = 10**9
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


class End(NamedTuple):
    """An end: its approximate value, whether it belongs to the set, and its tree."""

    at: float
    closed: bool
    tree: Tree


class Interval(NamedTuple):
    """Everything between two ends."""

    low: End
    high: End


Region = list[Interval]
_BOTTOM, _TOP = End(-math.inf, False, Tree("negative", (_INFINITY,))), End(math.inf, False, _INFINITY)
REALS: Region = [Interval(_BOTTOM, _TOP)]


def region(tree: Tree, letter: str = "") -> Region | None:
    """The set in normal form, or None if it is none of real numbers with constant ends.

    Args:
        tree: A set, or a condition.
        letter: The letter that a condition is about.
    """
    found = _region(tree, letter)
    return None if found is None or len(found) > _MAX_INTERVALS else _merged(found)


def is_surely_region(tree: Tree) -> bool:
    """Whether the tree is a set of real numbers and not perhaps a point: an infinite or mixed end, or a union."""
    if tree.kind == "tuple" and len(tree.parts) == 2:
        return tree.data in ("(]", "[)") or any(part.data == "infty" for end in tree.parts for part in walk(end))
    return tree.kind in ("union", "difference", "intersection", "builder") or (tree.kind == "name" and tree.data == "ℝ")


def letter_of(tree: Tree) -> str:
    """The only letter that an inequality or a list of inequalities is about, or an empty string."""
    if tree.kind == "list":
        letters = {letter_of(part) for part in tree.parts}
        bounded = any(part.data != ("=",) for part in tree.parts)
        return letters.pop() if len(letters) == 1 and bounded else ""
    if tree.kind != "relation" or not set(tree.data) <= _FLIPPED.keys() | {"∈"}:
        return ""
    letters = {_subject(part) for part in tree.parts} - {""}
    return letters.pop() if len(letters) == 1 else ""


def _subject(tree: Tree) -> str:
    """The letter, or the function of something, that a side of an inequality is; `|x|` is about `x`."""
    if tree.kind == "function" and tree.data == "abs":
        tree = tree.parts[0]
    if tree.kind == "name":
        return "" if tree.data in ("infty", "pi", "e", "ℝ", "emptyset") else tree.data
    return show(tree) if tree.kind == "apply" else ""


def _region(tree: Tree, letter: str) -> Region | None:
    kind, parts = tree.kind, tree.parts
    if kind == "name" and tree.data == "ℝ":
        return REALS
    if kind == "name" and tree.data == "emptyset":
        return []
    if kind == "tuple":
        return _interval(tree)
    if kind == "set":
        ends = [_end(part, True) for part in parts]
        return None if None in ends else [Interval(end, end) for end in ends if end is not None]
    if kind in ("union", "intersection", "difference"):
        return _combined(kind, [_region(part, "") for part in parts])
    if kind == "builder":
        return _built(tree)
    if kind == "relation":
        return _condition(tree, letter or letter_of(tree))
    if kind == "list" and (letter := letter or letter_of(tree)):
        found = [_condition(part, letter) if part.kind == "relation" else None for part in parts]
        if None in found:
            return None
        both = _combined("intersection", found)
        return _combined("union", found) if tree.data == "or" or (not both and tree.data is None) else both
    return None


def whole_numbers(tree: Tree) -> Tree | None:
    r"""The set that `\{x \in \mathbb{Z} \mid 1 < x < 5\}` is, member by member; None for other trees and long sets."""
    if tree.kind != "builder" or tree.parts[0].kind != "relation" or tree.parts[0].data != ("∈",):
        return None
    letter, domain = tree.parts[0].parts
    found = _region(tree.parts[1], letter.data) if letter.kind == "name" and domain == name("ℤ") else None
    if not found or not all(math.isfinite(end.at) and abs(end.at) < _MAX_WHOLE for one in found for end in one):
        return None
    members: list[Tree] = []
    for low, high in _merged(found):
        first = math.ceil(low.at) if low.closed else math.floor(low.at) + 1
        last = math.floor(high.at) if high.closed else math.ceil(high.at) - 1
        members += [number(value) for value in range(first, last + 1)][: _MAX_INTERVALS + 1]
    return Tree("set", tuple(members)) if len(members) <= _MAX_INTERVALS else None


def _end(tree: Tree, closed: bool) -> End | None:
    if tree == _INFINITY:
        return _TOP
    if tree.kind == "negative" and tree.parts[0] == _INFINITY:
        return _BOTTOM
    at = approximate(tree)
    return None if at is None else End(at, closed, tree)


def _interval(tree: Tree) -> Region | None:
    if len(tree.parts) != 2:
        return None
    low, high = _end(tree.parts[0], tree.data[0] == "["), _end(tree.parts[1], tree.data[1] == "]")
    if low is None or high is None or low.at > high.at:
        return None
    return [Interval(low, high)]


def _built(tree: Tree) -> Region | None:
    what, condition = tree.parts
    domain: Region | None = REALS
    if what.kind == "relation" and what.data == ("∈",):
        domain = _region(what.parts[1], "")
        what = what.parts[0]
    if what.kind != "name" or domain is None:
        return None
    found = _region(condition, what.data) if condition.kind in ("relation", "list") else None
    return None if found is None else _combined("intersection", [domain, found])


def _condition(tree: Tree, letter: str) -> Region | None:
    """Where a chain such as `1 < x <= 3` holds."""
    if tree.kind != "relation" or not letter:
        return None
    at = [index for index, part in enumerate(tree.parts) if _subject(part) == letter]
    if len(at) != 1:
        return None
    if tree.parts[at[0]].kind == "function":
        return _of_magnitude(tree, at[0], letter)
    found: Region | None = REALS
    for index, operator in enumerate(tree.data):
        if index not in (at[0] - 1, at[0]):
            return None
        side = tree.parts[index + 1] if index == at[0] else tree.parts[index]
        if operator == "∈" and index == at[0]:
            one = _region(side, "")
        else:
            one = _half(operator if index == at[0] else _FLIPPED.get(operator, ""), side)
        found = None if one is None or found is None else _combined("intersection", [found, one])
    return found


def _of_magnitude(tree: Tree, at: int, letter: str) -> Region | None:
    """Where a chain about `|x|` holds: where it holds for `x`, for positive and, mirrored, for negative numbers."""
    plain = tree._replace(parts=(*tree.parts[:at], name(letter), *tree.parts[at + 1 :]))
    zero = End(0.0, True, number(0))
    found = _combined("intersection", [_condition(plain, letter), [Interval(zero, _TOP)]])
    if found is None:
        return None
    return _merged(found + [Interval(_mirrored(one.high), _mirrored(one.low)) for one in found])


def _mirrored(end: End) -> End:
    return End(-end.at, end.closed, end.tree.parts[0] if end.tree.kind == "negative" else Tree("negative", (end.tree,)))


def _half(operator: str, side: Tree) -> Region | None:
    end = _end(side, operator in ("<=", ">=", "="))
    if end is None:
        return None
    if operator in ("<", "<="):
        return [Interval(_BOTTOM, end)]
    if operator in (">", ">="):
        return [Interval(end, _TOP)]
    if operator == "=":
        return [Interval(end, end)]
    return [Interval(_BOTTOM, end), Interval(end, _TOP)] if operator == "!=" else None


def _combined(kind: str, found: list[Region | None]) -> Region | None:
    if any(one is None or len(one) > _MAX_INTERVALS for one in found):
        return None
    total = found[0] or []
    for other in found[1:]:
        if kind == "union":
            total = total + (other or [])
        else:
            total = _meet(total, _complement(other or []) if kind == "difference" else other or [])
        if len(total) > _MAX_INTERVALS:
            return None
    return _merged(total)


def _meet(one: Region, two: Region) -> Region:
    found: Region = []
    for left in one:
        for right in two:
            low = max(left.low, right.low, key=lambda end: (end.at, not end.closed))
            high = min(left.high, right.high, key=lambda end: (end.at, end.closed))
            if low.at < high.at or (low.at == high.at and low.closed and high.closed):
                found.append(Interval(low, high))
    return found


def _complement(one: Region) -> Region:
    found, low = list[Interval](), _BOTTOM
    for interval in _merged(one):
        if interval.low.at > low.at or (interval.low.at == low.at and not interval.low.closed and low.closed):
            found.append(Interval(low, interval.low._replace(closed=not interval.low.closed)))
        low = interval.high._replace(closed=not interval.high.closed)
    if low.at < math.inf:
        found.append(Interval(low, _TOP))
    return [one for one in found if one.low.at < one.high.at or (one.low.closed and one.high.closed)]


def _merged(found: Region) -> Region:
    """The intervals in order, those that touch joined."""
    merged: Region = []
    for interval in sorted(found, key=lambda one: (one.low.at, not one.low.closed)):
        last = merged[-1] if merged else None
        touches = last is not None and (
            interval.low.at < last.high.at
            or (interval.low.at == last.high.at and (interval.low.closed or last.high.closed))
        )
        if last is None or not touches:
            merged.append(interval)
        elif (interval.high.at, interval.high.closed) > (last.high.at, last.high.closed):
            merged[-1] = Interval(last.low, interval.high)
    return merged
