r"""Quantities with units, percentages, angles and clock times.

Known units are converted exactly; two of different dimensions are different. Unknown words are a unit only if they do
not change the number: `left`, `or more` and the like must be on both sides.

>>> from math_eval.reading import read
>>> measure((("km", 1), ("h", -1)))
(Fraction(5, 18), {'length': 1, 'time': -1})
"""

from collections.abc import Callable
from fractions import Fraction

from math_eval.reading.tree import Tree, name, names, number
from math_eval.reading.units import find_unit, is_place
from math_eval.reading.vocabulary import NOT_NEUTRAL
from math_eval.reading.words import word_set

from .policy import Policy

Same = Callable[[Tree, Tree], bool | None]
Unit = tuple[tuple[tuple[str, int], ...], tuple[str, ...]]

_F = Fraction
_DERIVED: dict[str, tuple[Fraction | int, dict[str, int]]] = {
    "volume": (_F(1, 1000), {"length": 3}),
    "area": (_F(40468564224, 10**7), {"length": 2}),
    "force": (1000, {"mass": 1, "length": 1, "time": -2}),
    "energy": (1000, {"mass": 1, "length": 2, "time": -2}),
    "power": (1000, {"mass": 1, "length": 2, "time": -3}),
    "speed": (_F(1609344, 3600000), {"length": 1, "time": -1}),
    "kilometres per hour": (_F(1000, 3600), {"length": 1, "time": -1}),
    "frequency": (1, {"time": -1}),
}
_CHANGES = ("ed", "ing", "ly")
_NOUNS = word_set("remaining shilling sterling building evening ring string wing thing king seed bed family")
"""Words for things, or without a meaning of their own, among those with an ending that otherwise changes a number."""
_QUANTITIES = frozenset({"quantity", "percent", "degrees", "clock"})


def measure(factors: tuple[tuple[str, int], ...]) -> tuple[Fraction, dict[str, int]]:
    """The size of a product of known units, and its dimensions with their exponents."""
    size, dimensions = Fraction(1), dict[str, int]()
    for spelt, exponent in factors:
        unit = find_unit(spelt)
        if unit is None:
            dimensions[spelt] = dimensions.get(spelt, 0) + exponent
            continue
        scale, parts = _DERIVED.get(unit.dimension, (1, {unit.dimension: 1}))
        size *= (unit.size * scale) ** exponent
        for dimension, power in parts.items():
            dimensions[dimension] = dimensions.get(dimension, 0) + power * exponent
    return size, {name: power for name, power in dimensions.items() if power}


def is_quantity(tree: Tree) -> bool:
    """Whether the tree is a number with a unit, a percentage, an angle or a time."""
    return tree.kind in _QUANTITIES


def same_quantity(one: Tree, two: Tree, same: Same, policy: Policy) -> bool | None:
    """Whether a quantity and another quantity or value are equal."""
    if one.kind == "clock" or two.kind == "clock":
        return _same_clock(one, two, policy)
    if one.kind == two.kind == "percent":
        return same(one.parts[0], two.parts[0])
    if one.kind == "percent" or two.kind == "percent":
        percent, other = (one, two) if one.kind == "percent" else (two, one)
        return _same_percent(percent.parts[0], other, same, policy)
    (value, unit), (other, its) = _split(one), _split(two)
    if unit is None or its is None:
        return _same_on_one_side(one, two, same, policy)
    return _same_units(value, unit, other, its, same, policy)


def _split(tree: Tree) -> tuple[Tree, Unit | None]:
    if tree.kind == "degrees":
        return tree.parts[0], ((("degree", 1),), ())
    return (tree.parts[0], tree.data) if tree.kind == "quantity" else (tree, None)


def _same_percent(percent: Tree, other: Tree, same: Same, policy: Policy) -> bool | None:
    if is_quantity(other):
        return False
    verdict = same(Tree("quotient", (percent, number(100))), other)
    return same(percent, other) if verdict is not True and policy.percent_either else verdict


def _same_on_one_side(one: Tree, two: Tree, same: Same, policy: Policy) -> bool | None:
    quantity, plain = (one, two) if is_quantity(one) else (two, one)
    value, unit = _split(quantity)
    assert unit is not None
    if not unit[1] and (spelt := _as_quantity(plain, unit)) is not None:
        return _same_units(value, unit, spelt.parts[0], spelt.data, same, policy)
    if not policy.one_unit or not _is_neutral(unit[1]):
        return False
    verdict = same(value, plain)
    if verdict is False and policy.converted_units and unit == ((("degree", 1),), ()) and "pi" in names(plain):
        return same(Tree("quotient", (Tree("product", (value, name("pi"))), number(180))), plain)
    return verdict


def _as_quantity(tree: Tree, unit: Unit) -> Tree | None:
    """`5 m / s` as a quantity, if its letters are units with the dimensions of the other side."""
    above, below = (tree.parts[0], tree.parts[1:]) if tree.kind == "quotient" else (tree, ())
    found: dict[str, int] = {}
    rest: list[Tree] = []
    for part, sign in [(part, 1) for part in _factors(above)] + [(part, -1) for one in below for part in _factors(one)]:
        base, exponent = (part.parts[0], part.parts[1]) if part.kind == "power" else (part, number(1))
        if base.kind == "name" and find_unit(base.data) is not None and exponent.kind == "number":
            found[base.data] = found.get(base.data, 0) + sign * int(exponent.data[0])
        elif sign > 0:
            rest.append(part)
        else:
            return None
    factors = tuple(sorted(found.items()))
    if not factors or not rest or measure(factors)[1] != measure(unit[0])[1]:
        return None
    return Tree("quantity", (rest[0] if len(rest) == 1 else Tree("product", tuple(rest)),), (factors, ()))


def _factors(tree: Tree) -> tuple[Tree, ...]:
    return tree.parts if tree.kind == "product" else (tree,)


def _same_units(value: Tree, unit: Unit, other: Tree, its: Unit, same: Same, policy: Policy) -> bool | None:
    (factors, words), (others, others_words) = unit, its
    if not _same_unit_words(words, others_words):
        return False
    if (words and not factors and others) or (others_words and not others and factors):  # apples and centimetres
        return False
    if not factors or not others:
        bare = not words or not others_words
        return same(value, other) if (policy.one_unit and (bare or factors == others)) or factors == others else False
    (size, dimensions), (its_size, its_dimensions) = measure(factors), measure(others)
    if dimensions != its_dimensions or (size != its_size and not policy.converted_units):
        return False
    if size == its_size:
        return same(value, other)
    return same(Tree("product", (value, number(size))), Tree("product", (other, number(its_size))))


def _same_unit_words(one: tuple[str, ...], two: tuple[str, ...]) -> bool:
    left, right = {_singular(word) for word in one}, {_singular(word) for word in two}
    if left == right:
        return True
    return (left <= right or right <= left) and _is_neutral(tuple(left ^ right))


def _singular(word: str) -> str:
    for plural, singular in (("ies", "y"), ("ches", "ch"), ("sses", "ss"), ("xes", "x"), ("s", "")):
        if word.endswith(plural) and len(word) > len(plural) + 1 and not word.endswith("ss"):
            return word.removesuffix(plural) + singular
    return {"people": "person", "children": "child", "men": "man", "women": "woman"}.get(word, word)


def _is_neutral(words: tuple[str, ...]) -> bool:
    if len(words) == 2 and words[1] == "left" and not is_place(words[0]):  # `5 apples left`
        words = words[:1]
    if len(words) == 1 and words[0].endswith(_CHANGES) and words[0] not in _NOUNS:
        return False
    return not any(word.lower() in NOT_NEUTRAL or word.startswith("^") for word in words)


def _same_clock(one: Tree, two: Tree, policy: Policy) -> bool | None:
    left, right = _time(one), _time(two)
    if left is None or right is None:
        return False
    if left[1] and right[1]:
        return left == right
    (minutes, half), (plain, _) = (left, right) if left[1] else (right, left)
    if half and plain >= 13 * 60:
        return (minutes % 720) + (720 if half == "pm" else 0) == plain
    return minutes == plain and policy.one_unit


def _time(tree: Tree) -> tuple[int, str] | None:
    if tree.kind == "clock":
        return tree.data
    if tree.kind == "ratio" and tree.data and [part.kind for part in tree.parts] == ["number", "number"]:
        hours, minutes = (int(part.data[0]) for part in tree.parts)
        return hours * 60 + minutes, ""
    return None
