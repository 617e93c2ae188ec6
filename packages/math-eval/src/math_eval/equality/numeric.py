r"""Values of expressions to many digits, where exact algebra proves nothing.

Two constants are equal if they agree to 60 digits at two precisions, in expressions of at most 200 parts: evidence, not
a proof. Two functions of letters are equal if they agree to 40 digits at every tried point
where both are real: letters count as positive wherever a root or a logarithm of them needs it. They differ if they
differ at one point. A very small part, such as `10^{-90}` beside 1, adds twice its own digits to these numbers.
Odd roots of negative numbers are real. Too large numbers are refused before they are computed.

>>> from math_eval.reading import read
>>> identical(read(r"\cos\frac\pi7+\cos\frac{3\pi}7+\cos\frac{5\pi}7").tree, read(r"\frac12").tree)
True
>>> identical(read(r"\sqrt{x^2}").tree, read("x").tree), identical(read(r"\ln x^2").tree, read(r"2\ln x").tree)
(False, True)
"""

import hashlib
import random
import threading
from functools import cache
from typing import Any

from math_eval.reading.tree import Tree, show, walk
from math_eval.reading.words import word_set

_MAX_PARTS = 200
_DIGITS, _AGREE = 80, 60
_POINT_DIGITS, _POINT_AGREE = 60, 40
_DIGITS_FOR_A_BIT = 0.61
_FEW_DIGITS, _MAX_FURTHER_DIGITS = 10, 3000
_MAX_BITS = 200_000
_MAX_ARGUMENT_BITS = 4096
_CONSTANTS = frozenset({"pi", "e", "i"})
_UNKNOWN = frozenset({"infty", "emptyset", "ℝ", "ℤ", "ℕ", "ℚ", "ℂ", "…"})
_RANGES = ((0.1, 0.9), (0.1, 0.9), (1.1, 2.9), (1.1, 2.9), (-0.9, -0.1), (-2.9, -1.1), (-0.9, 0.9), (-2.9, 2.9))
_MIN_POINTS = 2
_lock = threading.Lock()


class _NoValue(ArithmeticError):
    """The expression has no value there, or one that is too large to compute."""


@cache
def _context() -> Any:
    """A context of mpmath; `widest` is the number of bits between a small part and what it stood beside."""
    from mpmath.ctx_mp import MPContext

    context = MPContext()
    context.widest = 0
    return context


def identical(one: Tree, two: Tree, *, positive: bool = True) -> bool | None:
    """Whether two expressions have the same value; None if this cannot be computed.

    Args:
        one: An expression.
        two: Another one.
        positive: Whether points count where only positive letters give real values; otherwise both must be real at all.
    """
    parts = [*walk(one), *walk(two)]
    if len(parts) > _MAX_PARTS or any(part.kind not in _EVALUATED or part.data in _UNKNOWN for part in parts):
        return None
    letters = sorted({_letter(part) for part in parts} - {""})
    with _lock:
        try:
            return _same_functions(one, two, letters, positive) if letters else _same_constants(one, two)
        except (_NoValue, ArithmeticError, ValueError, TypeError):
            return None


def approximate(tree: Tree) -> float | None:
    """A real constant as a floating-point number, or None."""
    parts = list(walk(tree))
    if len(parts) > _MAX_PARTS or any(
        part.kind not in _EVALUATED or _letter(part) or part.data in _UNKNOWN for part in parts
    ):
        return None
    with _lock:
        try:
            value = _value(tree, {}, 30)
            return float(value.real) if abs(value.imag) < 1e-20 else None
        except (_NoValue, ArithmeticError, ValueError, TypeError):
            return None


def _letter(part: Tree) -> str:
    """The name of an unknown value: a letter, letters in order, or an unknown function of something."""
    if part.kind == "name" and part.data not in _CONSTANTS:
        return part.data
    if part.kind == "word":
        return part.data
    return show(part) if part.kind == "apply" else ""


def _same_constants(one: Tree, two: Tree) -> bool:
    return _agree(one, two, {}, _DIGITS, _AGREE)


def _same_functions(one: Tree, two: Tree, letters: list[str], positive: bool) -> bool | None:
    complex_numbers = any(part.data == "i" for tree in (one, two) for part in walk(tree) if part.kind == "name")
    tried = 0
    for index, (low, high) in enumerate(_RANGES):
        points = {name: _draw(name, index, low, high) for name in letters}
        same = _at(one, two, points, complex_numbers)
        if same is False:
            return False
        if same is None and not positive:
            return None
        tried += same is True
    if tried < _MIN_POINTS:
        tried = 0
        for index in range(1, 6):
            same = _at(one, two, {name: _whole(name, index) for name in letters}, True)
            if same is False:
                return False
            tried += same is True
    return True if tried >= _MIN_POINTS else None


def _draw(name: str, index: int, low: float, high: float) -> float:
    seed = int.from_bytes(hashlib.sha256(f"{name}{index}".encode()).digest()[:8], "big")
    return random.Random(seed).uniform(low, high)


def _whole(name: str, index: int) -> float:
    return float(index + int.from_bytes(hashlib.sha256(name.encode()).digest()[:1], "big") % 3)


def _at(one: Tree, two: Tree, points: dict[str, float], complex_numbers: bool) -> bool | None:
    """Whether both have the same value at a point; None if one of them has none, or no real one."""
    try:
        if not complex_numbers and not (_is_real(one, points) and _is_real(two, points)):
            return None
        return _agree(one, two, points, _POINT_DIGITS, _POINT_AGREE)
    except (_NoValue, ArithmeticError, ValueError):
        return None


def _is_real(tree: Tree, points: dict[str, float]) -> bool:
    value = _value(tree, points, _POINT_DIGITS)
    return abs(value.imag) <= max(abs(value), 1) * _context().mpf(10) ** -45


def _agree(one: Tree, two: Tree, points: dict[str, float], digits: int, agree: int) -> bool:
    """Whether two values agree to so many digits, at so many digits of precision and at twice as many."""
    ctx = _context()
    ctx.widest = 0
    left, right = _value(one, points, digits), _value(two, points, digits)
    further = int(_DIGITS_FOR_A_BIT * ctx.widest)
    if further > _MAX_FURTHER_DIGITS:
        raise _NoValue
    digits, agree = digits + further, agree + further
    if further > _FEW_DIGITS:
        left, right = _value(one, points, digits), _value(two, points, digits)
    if not _is_near(left, right, agree) and max(abs(left), abs(right)) > ctx.mpf(10) ** (agree - digits):
        return False
    left, right = (_without_noise(tree, value, points, digits) for tree, value in ((one, left), (two, right)))
    return _is_near(left, right, agree)


def _is_near(one: Any, two: Any, digits: int) -> bool:
    return bool(abs(one - two) <= max(abs(one), abs(two)) * _context().mpf(10) ** -digits)


def _without_noise(tree: Tree, value: Any, points: dict[str, float], digits: int) -> Any:
    """The value at twice the precision; 0 if it shrinks with the precision, as what is left of a zero does."""
    better = _value(tree, points, 2 * digits)
    return better * 0 if abs(better) < abs(value) * _context().mpf(10) ** -(digits // 2) else better


def _value(tree: Tree, points: dict[str, float], digits: int) -> Any:
    ctx = _context()
    ctx.dps = digits
    value = ctx.mpc(_evaluate(tree, points, ctx))
    if not ctx.isfinite(value):
        raise _NoValue
    return value


def _evaluate(tree: Tree, points: dict[str, float], ctx: Any) -> Any:  # noqa: C901
    kind = tree.kind
    if kind == "number":
        value = tree.data[0]
        return ctx.mpf(value.numerator) / value.denominator
    if (name := _letter(tree)) != "":
        return ctx.mpf(points[name])
    if kind == "name":
        return {"pi": ctx.pi, "e": ctx.e, "i": ctx.j}[tree.data] * 1
    parts = [_evaluate(part, points, ctx) for part in tree.parts]
    if kind == "sum":
        sizes = [ctx.mag(part) for part in parts if part != 0 and ctx.isfinite(part)]
        _widen(ctx, max(sizes) - min(sizes) if sizes else 0)
        return sum(parts[1:], parts[0])
    if kind == "negative":
        return -parts[0]
    if kind == "product":
        total = parts[0]
        for part in parts[1:]:
            total = total * part
        return total
    if kind == "quotient":
        if parts[1] == 0:
            raise _NoValue
        return parts[0] / parts[1]
    if kind == "power":
        return _raise(parts[0], parts[1], tree.parts[1], ctx)
    if kind == "percent":
        return parts[0] / 100
    if kind == "degrees":
        return parts[0] * ctx.pi / 180
    if kind == "factorial":
        return _gamma(parts[0] + 1, ctx)
    return _apply(tree, parts, ctx)


def _widen(ctx: Any, bits: int) -> None:
    ctx.widest = max(ctx.widest, bits)


def _small(value: Any, ctx: Any) -> Any:
    if value != 0 and ctx.mag(value) > _MAX_ARGUMENT_BITS:
        raise _NoValue
    return value


def _gamma(value: Any, ctx: Any) -> Any:
    if abs(value) > 10**6:
        raise _NoValue
    if ctx.isint(value) and value.real <= 0:
        raise _NoValue
    return ctx.gamma(value)


def _raise(base: Any, exponent: Any, written: Tree, ctx: Any) -> Any:
    if base == 0:
        if ctx.im(exponent) != 0 or ctx.re(exponent) <= 0:
            raise _NoValue
        return ctx.mpf(0)
    if abs(exponent) * max(1, abs(ctx.mag(base))) > _MAX_BITS * 1000:
        raise _NoValue
    if exponent != 0:
        _widen(ctx, -min(0, ctx.mag(exponent)))
    if ctx.im(base) == 0 and ctx.re(base) < 0 and (odd := _odd_root(written)):
        top, bottom = odd
        return (-1) ** (top % 2) * ctx.power(-ctx.re(base), ctx.mpf(top) / bottom)
    return ctx.power(base, exponent)


def _odd_root(exponent: Tree) -> tuple[int, int] | None:
    """Numerator and denominator of an exponent that is written as a fraction with an odd denominator."""
    from .algebra import rational

    value = rational(exponent)
    if value is None or value.denominator % 2 == 0 or value.denominator == 1:
        return None
    return value.numerator, value.denominator


def _apply(tree: Tree, parts: list[Any], ctx: Any) -> Any:  # noqa: C901
    name, value = tree.data, parts[0] if parts else None
    if tree.kind != "function" or value is None:
        raise _NoValue
    _small(value, ctx)
    if value != 0:
        _widen(ctx, abs(ctx.mag(value)))
    if name == "sqrt":
        return _root(value, parts[1] if len(parts) > 1 else ctx.mpf(2), ctx)
    if name == "log":
        base = parts[1] if len(parts) > 1 else None
        if value == 0 or (base is not None and base in (0, 1)):
            raise _NoValue
        return ctx.ln(value) if base is None else ctx.ln(value) / ctx.ln(base)
    if name == "ln":
        if value == 0:
            raise _NoValue
        return ctx.ln(value)
    if name == "cis":
        return ctx.exp(ctx.j * value)
    if name in ("abs", "norm"):
        return abs(value)
    if name in _LEVEL:  # 1 - tanh(x) has about 3 |x| leading zero bits
        _widen(ctx, int(3 * min(abs(value), _MAX_BITS) ** (2 if name == "erf" else 1)))
    if name in _BY_NAME:
        return getattr(ctx, _BY_NAME[name])(value)
    real = [ctx.re(part) for part in parts]
    if name in ("min", "max"):
        return min(real) if name == "min" else max(real)
    if name == "sgn":
        return ctx.sign(value)
    if name in ("Re", "Im", "arg"):
        return {"Re": ctx.re, "Im": ctx.im, "arg": ctx.arg}[name](value)
    if name in ("overline", "bar"):
        return ctx.conj(value)
    if name == "binom":
        return _gamma(value + 1, ctx) / (_gamma(parts[1] + 1, ctx) * _gamma(value - parts[1] + 1, ctx))
    raise _NoValue


def _root(value: Any, degree: Any, ctx: Any) -> Any:
    if not ctx.isint(degree) or degree == 0 or abs(degree) > 10**6:
        raise _NoValue
    if ctx.im(value) == 0 and ctx.re(value) < 0 and int(degree.real) % 2:
        return -ctx.root(-ctx.re(value), int(degree.real))
    return ctx.root(value, int(degree.real))


_BY_NAME = {
    "sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc", "arcsin": "asin",
    "arccos": "acos", "arctan": "atan", "arccot": "acot", "arcsec": "asec", "arccsc": "acsc", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "coth": "coth", "sech": "sech", "csch": "csch", "arsinh": "asinh",
    "arcosh": "acosh",
    "artanh": "atanh", "floor": "floor", "ceil": "ceil", "erf": "erf",
}  # fmt: skip
_LEVEL = frozenset({"tanh", "coth", "erf"})
_EVALUATED = word_set("number name word sum negative product quotient power percent degrees factorial function apply")
