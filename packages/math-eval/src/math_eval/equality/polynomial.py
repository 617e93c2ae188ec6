r"""Exact quotients of polynomials over the rationals, with roots of numbers as further generators.

A polynomial maps monomials to fractions. A generator is a letter, `\pi`, or a prime with a fractional exponent.
Products of fractional powers of different primes are linearly independent over the rationals (Besicovitch), so a
polynomial is zero exactly if no term is left: equality needs neither rounding nor a heuristic. Reading text is left to
`reading`, and functions to `algebra`.

>>> root = radical(Fraction(2), 2)    # the square root of 2
>>> multiply(root, root)
{(): Fraction(2, 1)}
>>> equal(Quotient(radical(Fraction(8), 2)), Quotient(multiply(constant(2), root)))
True
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction

Monomial = tuple[tuple[str, Fraction | int], ...]
Polynomial = dict[Monomial, Fraction]

_MAX_TERMS = 64
_MAX_DEGREE = 32
_MAX_BITS = 4096
_MAX_COEFFICIENT_BITS = 1 << 16
_MAX_RADICAND = 10**8
_MAX_ROOT = 12
PI, E, I = r"\pi", "e", "i"  # noqa: E741 - mathematical names


class OutOfReach(ArithmeticError):
    """The result is too large to be computed here, or outside of this arithmetic."""


def constant(value: Fraction | int) -> Polynomial:
    """A polynomial without generators."""
    return {(): Fraction(value)} if value else {}


def symbol(name: str) -> Polynomial:
    r"""A letter or `\pi`."""
    return {((name, 1),): Fraction(1)}


def radical(value: Fraction, root: int) -> Polynomial:
    """The real `root`-th root of a non-negative rational number.

    Raises:
        OutOfReach: The radicand is negative or too large to factor.
    """
    whole = value.numerator * value.denominator ** (root - 1)
    if whole < 0 or whole > _MAX_RADICAND:
        raise OutOfReach
    factor = Fraction(1, value.denominator)
    monomial: list[tuple[str, Fraction | int]] = []
    for prime, power in _factors(whole):
        outside, inside = divmod(power, root)
        factor *= prime**outside
        if inside:
            monomial.append((str(prime), Fraction(inside, root)))
    return {tuple(sorted(monomial)): factor} if whole else {}


def _factors(whole: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    divisor = 2
    while whole > 1:
        if divisor * divisor > whole:
            divisor = whole
        power = 0
        while whole % divisor == 0:
            whole //= divisor
            power += 1
        if power:
            found.append((divisor, power))
        divisor += 1
    return found


def add(one: Polynomial, two: Polynomial, sign: int = 1) -> Polynomial:
    """`one + sign * two`."""
    total = dict(one)
    for monomial, coefficient in two.items():
        value = total.pop(monomial, 0) + sign * coefficient
        if value:
            total[monomial] = value
    return total


def multiply(one: Polynomial, two: Polynomial) -> Polynomial:
    """The expanded product.

    Raises:
        OutOfReach: The product has too many terms or too large a coefficient.
    """
    total: Polynomial = {}
    for left, a in one.items():
        for right, b in two.items():
            monomial, factor = _merge(left, right)
            value = total.pop(monomial, 0) + a * b * factor
            if value:
                total[monomial] = value
                if len(total) > _MAX_TERMS or _bits(value) > _MAX_COEFFICIENT_BITS:
                    raise OutOfReach
    return total


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _merge(left: Monomial, right: Monomial) -> tuple[Monomial, int]:
    """The product of two monomials, and the whole number that is the integer part of its powers of primes."""
    if not left or not right:
        return left or right, 1
    exponents = dict(left)
    for name, exponent in right:
        exponents[name] = exponents.get(name, 0) + exponent
    factor = 1
    for name, exponent in tuple(exponents.items()):
        if name.isdigit() and exponent >= 1:
            factor *= int(name) ** math.floor(exponent)
            exponents[name] = exponent - math.floor(exponent)
    return tuple(sorted((name, exponent) for name, exponent in exponents.items() if exponent)), factor


@dataclass(frozen=True)
class Quotient:
    """`top` over `bottom`, which is not zero."""

    top: Polynomial
    bottom: Polynomial = field(default_factory=lambda: constant(1))

    def plus(self, other: "Quotient", sign: int = 1) -> "Quotient":
        """`self + sign * other`."""
        if self.bottom == other.bottom:
            return Quotient(add(self.top, other.top, sign), self.bottom)
        one, two = multiply(self.top, other.bottom), multiply(other.top, self.bottom)
        return Quotient(add(one, two, sign), multiply(self.bottom, other.bottom))

    def times(self, other: "Quotient") -> "Quotient":
        """The product."""
        return Quotient(multiply(self.top, other.top), multiply(self.bottom, other.bottom))

    def inverse(self) -> "Quotient":
        """The reciprocal.

        Raises:
            OutOfReach: The quotient is zero.
        """
        if not self.top:
            raise OutOfReach
        return Quotient(self.bottom, self.top)

    def power(self, exponent: Fraction) -> "Quotient":
        """The power with a constant exponent; a fractional exponent needs a non-negative number.

        Raises:
            OutOfReach: The power is undefined here, or too large.
        """
        if exponent < 0:
            return self.inverse().power(-exponent)
        value = self.rational()
        if value is not None:
            bits = _bits(value) * exponent
            real = value >= 0 or exponent.denominator == 1
            if not real or bits > _MAX_BITS or exponent.denominator > _MAX_ROOT or value == exponent == 0:
                raise OutOfReach
            raised = value**exponent.numerator
            return Quotient(constant(raised) if exponent.denominator == 1 else radical(raised, exponent.denominator))
        if exponent.denominator != 1 or exponent > _MAX_DEGREE:
            raise OutOfReach
        result = Quotient(constant(1))
        for _ in range(int(exponent)):
            result = result.times(self)
        return result

    def rational(self) -> Fraction | None:
        """The value, if the quotient has no generators; otherwise None."""
        if any(self.top.keys() | self.bottom.keys()):
            return None
        return self.top.get((), Fraction(0)) / self.bottom[()]

    def letters(self) -> set[str]:
        r"""The generators that are not numbers; `\pi`, `e` and `i` are numbers."""
        names = {name for monomial in self.top.keys() | self.bottom.keys() for name, _ in monomial}
        return {name for name in names if not name.isdigit()} - {PI, E, I}

    def approximate(self) -> complex | None:
        """The floating-point value of a constant; None with a letter, with `e` (which may be one), or out of range."""
        try:
            return _approximate(self.top) / _approximate(self.bottom)
        except (KeyError, OverflowError, ZeroDivisionError):
            return None


def _approximate(polynomial: Polynomial) -> complex:
    total = 0j
    for monomial, coefficient in polynomial.items():
        term = complex(coefficient)
        for name, exponent in monomial:
            term *= (float(name) if name.isdigit() else {PI: math.pi, I: 1j}[name]) ** float(exponent)
        total += term
    return total


def equal(one: Quotient, two: Quotient) -> bool | None:
    r"""Whether two quotients are equal; `i` is the imaginary unit.

    The result is None if a denominator is zero, or if `e` and `\pi` occur, because their independence is unknown.
    """
    difference = add(multiply(one.top, two.bottom), multiply(two.top, one.bottom), -1)
    if not all(map(_with_unit, (one.bottom, two.bottom))):
        return None
    if not difference or not (difference := _with_unit(difference)):
        return True
    names = {name for monomial in difference for name, _ in monomial}
    return None if names >= {E, PI} else False


def _with_unit(polynomial: Polynomial) -> Polynomial:
    """The polynomial with the square of `i` replaced by -1."""
    total: Polynomial = {}
    for monomial, coefficient in polynomial.items():
        power = next((int(exponent) for name, exponent in monomial if name == I), 0)
        rest = tuple((name, exponent) for name, exponent in monomial if name != I)
        key = tuple(sorted((*rest, (I, 1)))) if power % 2 else rest
        total = add(total, {key: -coefficient if power % 4 > 1 else coefficient})
    return total


def proportional(one: Polynomial, two: Polynomial) -> bool:
    """Whether one polynomial is a non-zero rational multiple of the other."""
    if not one or one.keys() != two.keys():
        return False
    ratios = {two[monomial] / coefficient for monomial, coefficient in one.items()}
    return len(ratios) == 1
