r"""Trees of expressions as exact quotients of polynomials over letters, roots of numbers, and functions.

A function of something, such as `\sin(2x)`, is a generator of its own: two of them are the same if their arguments are.
So a proved identity is an identity; a difference proves nothing once functions occur, and is left to `numeric`.

>>> from math_eval.reading import read
>>> prove(read("(x+1)^2").tree, read("x^2+2x+1").tree), prove(read(r"\sin^2 x").tree, read(r"1-\cos^2 x").tree)
(True, None)
"""

import hashlib
import math
from fractions import Fraction
from functools import lru_cache

from math_eval.reading.tree import Tree, show

from .polynomial import PI, OutOfReach, Polynomial, Quotient, constant, equal, radical, symbol

_MAX_EXACT_FACTORIAL = 200
_CONSTANTS = {"pi": PI, "e": "e", "i": "i"}
_NO_VALUE = frozenset({"infty", "emptyset", "ℝ", "ℤ", "ℕ", "ℚ", "ℂ"})
_FUNCTION_MARK = "@"


@lru_cache(maxsize=4096)
def quotient(tree: Tree) -> Quotient | None:
    """The tree as a quotient, or None if it is none or too large."""
    try:
        return _quotient(tree)
    except OutOfReach:
        return None


def prove(one: Tree, two: Tree) -> bool | None:
    """Whether two expressions are equal; None if exact algebra cannot tell."""
    left, right = quotient(one), quotient(two)
    if left is None or right is None:
        return None
    try:
        same = equal(left, right)
    except OutOfReach:
        return None
    if same is False and (_has_functions(left) or _has_functions(right)):
        return None
    return same


def rational(tree: Tree) -> Fraction | None:
    """The value of a rational constant, or None."""
    value = quotient(tree)
    return None if value is None else value.rational()


def numerator(one: Tree, two: Tree) -> Polynomial | None:
    """The numerator of the difference of two expressions, or None."""
    left, right = quotient(one), quotient(two)
    if left is None or right is None:
        return None
    try:
        return left.plus(right, -1).top
    except OutOfReach:
        return None


def _has_functions(value: Quotient) -> bool:
    return any(name.startswith(_FUNCTION_MARK) for name in value.letters())


def _quotient(tree: Tree) -> Quotient:  # noqa: C901 - one return for each kind
    kind, parts = tree.kind, tree.parts
    if kind == "number":
        return Quotient(constant(tree.data[0]))
    if kind == "name":
        if tree.data in _NO_VALUE:
            raise OutOfReach
        text: str = tree.data
        return Quotient(symbol(_CONSTANTS.get(text, text.removeprefix("vec "))))
    if kind == "word":
        return Quotient(symbol(tree.data))
    if kind == "sum":
        total = _quotient(parts[0])
        for part in parts[1:]:
            total = total.plus(_quotient(part))
        return total
    if kind == "negative":
        return Quotient({}).plus(_quotient(parts[0]), -1)
    if kind == "product":
        total = _quotient(parts[0])
        for part in parts[1:]:
            total = total.times(_quotient(part))
        return total
    if kind == "quotient":
        return _quotient(parts[0]).times(_quotient(parts[1]).inverse())
    if kind == "power":
        return _power(*parts)
    if kind == "percent":
        return _quotient(parts[0]).times(Quotient(constant(Fraction(1, 100))))
    if kind == "degrees":
        return _quotient(parts[0]).times(Quotient(symbol(PI))).times(Quotient(constant(Fraction(1, 180))))
    if kind == "factorial":
        return _factorial(tree)
    if kind in ("function", "apply"):
        return _function(tree)
    if kind == "big":
        *scripts, body = parts
        return _generator(f"{tree.data} {' '.join(map(show, scripts))} ({_key(_quotient(body))})")
    raise OutOfReach


def _power(base: Tree, exponent: Tree) -> Quotient:
    value, power = _quotient(base), _quotient(exponent)
    number = power.rational()
    if number is None:
        return _generator(f"({_key(value)})^({_key(power)})")
    try:
        return value.power(number)
    except OutOfReach:
        if number.denominator == 1 and abs(number) <= 32:
            raise
        return _fractional(value, number)


def _fractional(value: Quotient, power: Fraction) -> Quotient:
    """A power of a single term with positive letters, or of a negative number with an odd root."""
    number = value.rational()
    if number is not None:
        if number < 0 and power.denominator % 2 == 1:
            return Quotient(constant((-1) ** power.numerator)).times(Quotient(constant(-number)).power(power))
        if number < 0 and power == Fraction(1, 2):
            return Quotient(symbol("i")).times(Quotient(radical(-number, 2)))
        raise OutOfReach
    if len(value.top) == len(value.bottom) == 1:
        (top, factor), (bottom, divisor) = next(iter(value.top.items())), next(iter(value.bottom.items()))
        plain = all(
            not name.isdigit() and name not in ("i", "e") and exponent % 2 for name, exponent in (*top, *bottom)
        )
        if factor / divisor > 0 and plain and power.denominator <= 12:
            scale = Quotient(constant(factor / divisor)).power(power)
            raised: list[Polynomial] = [
                {tuple((name, exponent * abs(power)) for name, exponent in part): Fraction(1)} for part in (top, bottom)
            ]
            return scale.times(Quotient(*(raised if power > 0 else raised[::-1])))
    return _generator(f"({_key(value)})^({_spelt(power)})")


def _generator(text: str) -> Quotient:
    """A generator whose name is a hash, because names that contain the names inside grow with each function."""
    return Quotient(symbol(_FUNCTION_MARK + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()))


def _key(value: Quotient) -> str:
    """A spelling that equal quotients share in most cases, and different ones never."""
    number = value.rational()
    if number is not None:
        return _spelt(number)
    lead = value.bottom[max(value.bottom)]
    return "/".join(
        str(sorted((monomial, _spelt(coefficient / lead)) for monomial, coefficient in part.items()))
        for part in (value.top, value.bottom)
    )


def _spelt(number: Fraction) -> str:
    """Numerator and denominator in hexadecimal, which has no limit of digits as decimals have."""
    return f"{number.numerator:x}/{number.denominator:x}"


def _factorial(tree: Tree) -> Quotient:
    value = _quotient(tree.parts[0])
    number = value.rational()
    if number is None:
        return _generator(f"({_key(value)})!")
    if number.denominator != 1 or not 0 <= number <= _MAX_EXACT_FACTORIAL:
        raise OutOfReach
    return Quotient(constant(math.factorial(int(number))))


def _function(tree: Tree) -> Quotient:
    if tree.data == "sqrt":
        return _root(tree)
    if tree.data == "det" and tree.parts[0].kind == "matrix":
        return _determinant([[_quotient(cell) for cell in row.parts] for row in tree.parts[0].parts])
    try:
        arguments = [_quotient(part) for part in tree.parts]
    except OutOfReach:
        return _generator(show(tree))
    numbers = [value.rational() for value in arguments]
    if (
        None not in numbers
        and (value := _of_numbers(tree.data, [number for number in numbers if number is not None])) is not None
    ):
        return Quotient(constant(value))
    return _generator(f"{tree.kind} {tree.data}({'; '.join(map(_key, arguments))})")


def _of_numbers(name: str, numbers: list[Fraction]) -> Fraction | None:
    one = numbers[0]
    whole = all(number.denominator == 1 for number in numbers)
    if name == "abs":
        return abs(one)
    if name in ("floor", "ceil"):
        return Fraction(math.floor(one) if name == "floor" else math.ceil(one))
    if name in ("min", "max"):
        return min(numbers) if name == "min" else max(numbers)
    if name in ("gcd", "lcm") and whole:
        values = [int(number) for number in numbers]
        return Fraction(math.gcd(*values) if name == "gcd" else math.lcm(*values))
    if name == "binom" and whole and 0 <= numbers[1] <= one <= 10**4:
        return Fraction(math.comb(int(one), int(numbers[1])))
    return None


def _root(tree: Tree) -> Quotient:
    inside = _quotient(tree.parts[0])
    degree = Fraction(2)
    if len(tree.parts) > 1:
        given = _quotient(tree.parts[1]).rational()
        if given is None or given.denominator != 1 or given <= 0:
            raise OutOfReach
        degree = given
    try:
        return inside.power(1 / degree)
    except OutOfReach:
        return _fractional(inside, 1 / degree)


def _determinant(rows: list[list[Quotient]]) -> Quotient:
    if len(rows) != len(rows[0]) or len(rows) > 4:
        raise OutOfReach
    if len(rows) == 1:
        return rows[0][0]
    total = Quotient({})
    for column, cell in enumerate(rows[0]):
        minor = _determinant([row[:column] + row[column + 1 :] for row in rows[1:]])
        total = total.plus(cell.times(minor), -1 if column % 2 else 1)
    return total
