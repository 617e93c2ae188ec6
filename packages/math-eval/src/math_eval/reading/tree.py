r"""The tree of an answer: what was read, with every part in its place. Comparing trees is left to `equality`.

| kind | parts | data |
|---|---|---|
| number | | value, number of decimals (-1 if they repeat) |
| name | | a letter with index, accent and primes; `…` |
| word | | capital letters in order, such as the points of a line |
| phrase | | words |
| sum, product, list, set, union, intersection, difference, ratio, by | the members | |
| negative, plusminus, minusplus, factorial, degrees, percent | one operand | |
| quotient, power, cross, given, builder, option, mod, remark | two, or one for an option | letter of an option |
| function, apply, big | arguments | name |
| tuple | the members | brackets, such as `(]` |
| matrix, cases, row | rows, or cells | |
| relation | sides | operators |
| quantity | the number | unit: `(names with exponents, words)` |
| digits | | digits, base |
| clock | | minutes after midnight, half of the day |

>>> show(Tree("sum", (Tree("name", (), "x"), number(2))))
'x + 2'
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple


class Tree(NamedTuple):
    """A part of an answer; see the module for the kinds."""

    kind: str
    parts: tuple["Tree", ...] = ()
    data: Any = None


class Unread(ValueError):
    """The text, or a part of it, has no place in a tree."""


def number(value: Fraction | int, places: int = 0) -> Tree:
    """A number."""
    return Tree("number", (), (Fraction(value), places))


def name(text: str) -> Tree:
    """A letter."""
    return Tree("name", (), text)


def walk(tree: Tree) -> Iterator[Tree]:
    """The tree and all its parts, from the top."""
    stack = [tree]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(reversed(one.parts))


def levels(tree: Tree) -> int:
    """The number of levels of a tree: 1 without parts."""
    level, count = [tree], 0
    while level:
        level, count = [part for one in level for part in one.parts], count + 1
    return count


def replace(tree: Tree, old: str, new: str) -> Tree:
    """The tree with another letter in the place of one."""
    if tree.kind == "name" and tree.data == old:
        return name(new)
    return tree._replace(parts=tuple(replace(part, old, new) for part in tree.parts)) if tree.parts else tree


def names(tree: Tree) -> set[str]:
    """The letters in a tree."""
    return {one.data for one in walk(tree) if one.kind == "name"}


_BETWEEN = {
    "sum": " + ", "product": " * ", "list": ", ", "union": " ∪ ", "intersection": " ∩ ", "difference": " ∖ ",
    "ratio": " : ", "by": " by ", "quotient": " / ", "power": "^", "cross": " × ", "given": " given ",
    "builder": " with ",
    "mod": " mod ", "remark": " remark ", "row": ", ", "matrix": "; ", "cases": "; ",
}  # fmt: skip
_BEFORE = {"negative": "-", "plusminus": "±", "minusplus": "∓"}
_AFTER = {"factorial": "!", "degrees": "°", "percent": "%"}
_TIGHT = frozenset({"product", "quotient", "power", "factorial", "negative", "degrees", "percent"})
_LOOSE = frozenset(
    {"sum", "list", "union", "relation", "given", "ratio", "negative", "plusminus", "minusplus", "quotient"}
)


def show(tree: Tree) -> str:
    """The tree on one line."""
    if tree.kind in _SPECIAL:
        return _SPECIAL[tree.kind](tree)
    kind, parts = tree.kind, [show(part) for part in tree.parts]
    if kind in _TIGHT:
        texts = zip(tree.parts, parts, strict=True)
        parts = [
            f"({text})" if part.kind in _LOOSE or (kind == "power" and part.parts) else text for part, text in texts
        ]
    text = _BETWEEN.get(kind, ", ").join(parts)
    text = text.replace(" + -", " - ") if kind == "sum" else text
    return _BEFORE.get(kind, "") + (f"[{text}]" if kind in ("matrix", "cases") else text) + _AFTER.get(kind, "")


def _relation(tree: Tree) -> str:
    first, *rest = map(show, tree.parts)
    return first + "".join(f" {operator} {text}" for operator, text in zip(tree.data, rest, strict=False))


def _bracketed(tree: Tree) -> str:
    opening, closing = tree.data if tree.kind == "tuple" else "{}"
    return opening + ", ".join(map(show, tree.parts)) + closing


def _quantity(tree: Tree) -> str:
    units, words = tree.data
    return " ".join(
        [show(tree.parts[0]), *(unit if power == 1 else f"{unit}^{power}" for unit, power in units), *words]
    )


def _clock(tree: Tree) -> str:
    minutes, half = tree.data
    return f"{minutes // 60}:{minutes % 60:02}{' ' + half if half else ''}"


def _option(tree: Tree) -> str:
    return f"option {tree.data}" + (f" ({show(tree.parts[0])})" if tree.parts else "")


def _call(tree: Tree) -> str:
    return f"{tree.data}({', '.join(map(show, tree.parts))})"


def _decimal(value: Fraction, places: int) -> str:
    digits = 40
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > digits * 4:
        return "a long number"
    if places > 0:
        whole, rest = divmod(abs(value.numerator) * 10**places // value.denominator, 10**places)
        return f"{'-' if value < 0 else ''}{whole}.{rest:0{places}}"
    return str(value)


_SPECIAL: dict[str, Callable[[Tree], str]] = {
    "number": lambda tree: _decimal(*tree.data),
    "name": lambda tree: str(tree.data),
    "word": lambda tree: str(tree.data),
    "phrase": lambda tree: f'"{" ".join(tree.data)}"',
    "relation": _relation,
    "tuple": _bracketed,
    "set": _bracketed,
    "function": _call,
    "apply": _call,
    "big": _call,
    "quantity": _quantity,
    "digits": lambda tree: "{}_{}".format(*tree.data),
    "clock": _clock,
    "option": _option,
}
