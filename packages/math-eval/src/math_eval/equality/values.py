r"""The comparison of two expressions: exact algebra first, then digits, then what the policy counts as rounding.

>>> from math_eval.reading import read
>>> same_value(read(r"\sqrt2").tree, read("1.414214").tree, Policy())
(True, 'one rounds the other')
"""

from math_eval.reading.tree import Tree, name, number, show, walk

from .algebra import prove, quotient
from .numeric import approximate, identical
from .policy import Policy

_NO_VALUE = frozenset({"ℝ", "ℤ", "ℕ", "ℚ", "ℂ", "emptyset"})
_PLACES, _LENIENT_DIGITS = 6, 3


def same_value(one: Tree, two: Tree, policy: Policy) -> tuple[bool | None, str]:
    """Whether two expressions have the same value, and why; None if nothing here decides it."""
    if _NO_VALUE & {one.data, two.data}:
        return (False, f"{show(one)} and {show(two)} differ")
    if policy.any_case and one.kind == two.kind == "name" and one.data.lower() == two.data.lower():
        return (True, "the letters are equal but for their case")
    if ((infinite := _infinite(one)) or _infinite(two)) and not _has_operator(one) and not _has_operator(two):
        return (infinite == _infinite(two), f"{show(one)} and {show(two)} are compared")
    verdict, why = prove(one, two), "proved by exact algebra"
    if verdict is None:
        verdict, why = _by_digits(one, two, policy)
    if verdict is False:
        return (
            (True, "one rounds the other")
            if _rounds(one, two, policy)
            else (False, f"{show(one)} and {show(two)} differ")
        )
    return verdict, why


def same_digits(one: Tree, two: Tree, policy: Policy) -> tuple[bool | None, str]:
    """Whether digits with their base equal others, or a number, and why."""
    if one.kind == two.kind:
        equal = one.data == two.data or (policy.other_base and int(*one.data) == int(*two.data))
        return equal, "digits and bases are compared"
    based, other = (one, two) if one.kind == "digits" else (two, one)
    if other.kind == "number" and other.data[0] == int(based.data[0]):
        return policy.one_unit, "the base is on one side only"
    if policy.other_base and other.kind == "number":
        return other.data[0] == int(*based.data), "the values in base ten are compared"
    return False, f"{show(based)} and {show(other)} are written in different bases"


def _by_digits(one: Tree, two: Tree, policy: Policy) -> tuple[bool | None, str]:
    verdict = identical(one, two, positive=policy.positive_letters)
    if verdict is False and (_has_plain_log(one) or _has_plain_log(two)):  # `log` may be natural or common
        verdict = identical(_with_base(one), _with_base(two), positive=policy.positive_letters)
    if verdict is None:
        return None, f"nothing here decides {show(one)} and {show(two)}"
    letters = any(
        part.kind in ("word", "apply") or (part.kind == "name" and part.data not in ("pi", "e", "i"))
        for part in walk(one)
    )
    return verdict, "equal at every tried point" if letters else "equal to 60 digits"


def _rounds(one: Tree, two: Tree, policy: Policy) -> bool:
    """Whether a decimal is another value, rounded, in so many places that the policy counts it."""
    for decimal, other in ((one, two), (two, one)):
        if _places(decimal) <= 0 or _places(other) > 0:
            continue
        exact = quotient(other)
        irrational = exact is None or exact.rational() is None
        places = _places(decimal)
        if not (policy.irrational_decimals and irrational and places >= _PLACES):
            digits = len(show(decimal).replace("-", "").replace(".", "").lstrip("0"))
            if not (policy.rounded and digits >= _LENIENT_DIGITS):
                continue
        here, there = approximate(decimal), approximate(other)
        if here is not None and there is not None and abs(here - there) <= 0.5000001 * 10**-places:
            return True
    return False


def _places(tree: Tree) -> int:
    tree = tree.parts[0] if tree.kind == "negative" else tree
    return tree.data[1] if tree.kind == "number" else 0


def _infinite(tree: Tree) -> int:
    """1 for infinity, -1 for minus infinity, otherwise 0."""
    if tree == name("infty"):
        return 1
    return -_infinite(tree.parts[0]) if tree.kind == "negative" else 0


def _has_plain_log(tree: Tree) -> bool:
    return any(part.kind == "function" and part.data == "log" and len(part.parts) == 1 for part in walk(tree))


def _with_base(tree: Tree) -> Tree:
    """The tree with base 10 for every logarithm without one."""
    parts = tuple(map(_with_base, tree.parts))
    if tree.kind == "function" and tree.data == "log" and len(parts) == 1:
        parts = (*parts, number(10))
    return tree._replace(parts=parts)


def _has_operator(tree: Tree) -> bool:
    return any(part.kind == "big" for part in walk(tree))
