"""Random answers as small trees, every way in which this writer can spell them, and small changes to them.

An answer is a tuple: a kind and its parts. `spell(answer, style)` writes it in one style, `value(answer, point)`
computes an expression independently of the package, and `changes(answer)` gives answers that differ in one leaf, sign,
unit, order or condition.
"""

import math
from fractions import Fraction

from hypothesis import strategies as st

STYLES = ("braces", "bare", "plain", "unicode", "styled")
UNITS = ("cm", "kg", "hours", "dollars")
LETTERS = "abxyz"
FUNCTIONS = ("sin", "cos", "ln")
_TIMES = {
    "braces": r"{} \times {}",
    "bare": r"{}\cdot {}",
    "plain": "{}*{}",
    "unicode": "{}·{}",
    "styled": r"{}\,\times\,{}",
}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

numbers = st.integers(1, 40).map(lambda n: ("number", n))
letters = st.sampled_from(LETTERS).map(lambda x: ("letter", x))


def _grown(inner):
    return st.one_of(
        st.tuples(st.just("fraction"), inner, inner),
        st.tuples(st.just("sum"), inner, inner),
        st.tuples(st.just("difference"), inner, inner),
        st.tuples(st.just("product"), inner, inner),
        st.tuples(st.just("power"), inner, st.integers(2, 4)),
        st.tuples(st.just("root"), inner),
        st.tuples(st.sampled_from(FUNCTIONS), inner),
        st.tuples(st.just("negative"), inner),
    )


expressions = st.recursive(st.one_of(numbers, letters), _grown, max_leaves=5)
answers = st.one_of(
    expressions,
    st.tuples(st.just("tuple"), expressions, expressions, expressions),
    st.tuples(st.just("set"), numbers, numbers, letters).filter(lambda one: one[1] != one[2]),
    st.tuples(st.just("quantity"), st.integers(1, 999).map(lambda n: ("number", n)), st.sampled_from(UNITS)),
    st.tuples(st.just("equation"), st.just(("letter", "w")), expressions),
    st.tuples(st.just("interval"), st.integers(-20, 0), st.integers(1, 20), st.sampled_from(["()", "[]", "(]", "[)"])),
    st.tuples(st.just("below"), st.just(("letter", "w")), st.integers(1, 50), st.sampled_from("<>")),
    st.tuples(st.just("given"), expressions, st.integers(1, 9), st.sampled_from("<>")),
)


def spell(answer, style):
    """The answer in one style."""
    kind, *parts = answer
    if kind in ("tuple", "set", "quantity", "equation", "interval", "below", "given"):
        return _spell_answer(kind, parts, style)
    latex = style not in ("plain", "unicode")
    if kind in ("number", "letter"):
        return rf"\mathbf{{{parts[0]}}}" if style == "styled" and kind == "number" else str(parts[0])
    inside = [spell(part, style) if isinstance(part, tuple) else part for part in parts]
    if kind == "fraction":
        if style == "bare" and all(_is_short(part) for part in parts):
            return rf"\frac {inside[0]} {inside[1]}"
        return rf"\dfrac{{{inside[0]}}}{{{inside[1]}}}" if latex else f"(({inside[0]})/({inside[1]}))"
    if kind in ("sum", "difference"):
        return f"({inside[0]} {'+' if kind == 'sum' else _minus(style)} {inside[1]})"
    if kind == "negative":
        return f"({_minus(style)}{inside[0]})"
    if kind == "product":
        return _TIMES[style].format(*inside)
    if kind == "power":
        return _spell_power(inside, style)
    if kind == "root":
        if style == "bare" and _is_short(parts[0]):
            return rf"\sqrt {inside[0]}"
        return {"plain": "sqrt({})", "unicode": "√({})"}.get(style, r"\sqrt{{{}}}").format(inside[0])
    if not latex:
        return f"{kind}({inside[0]})"
    space = r"\," if style == "styled" else ""
    return rf"\{kind}{space}\left({inside[0]}\right)"


def _spell_power(inside, style):
    base, exponent = inside
    if style == "unicode":
        return f"({base}){str(exponent).translate(_RAISED)}"
    return f"({base})" + {"plain": f"**{exponent}", "bare": f"^{exponent}"}.get(style, f"^{{{exponent}}}")


def _spell_answer(kind, parts, style):
    latex = style not in ("plain", "unicode")
    if kind == "given":
        value, bound, sign = parts
        joiner = r" \text{ if } " if latex else " if "
        return f"{spell(value, style)}{joiner}w {sign} {bound}"
    inside = [spell(part, style) if isinstance(part, tuple) else str(part) for part in parts]
    if kind == "tuple":
        opening, closing = (r"\left(", r"\right)") if style == "styled" else "()"
        return f"{opening}{', '.join(inside)}{closing}"
    if kind == "set":
        return rf"\{{{', '.join(inside)}\}}"
    if kind == "quantity":
        return rf"{inside[0]}\text{{ {parts[1]}}}" if latex else f"{inside[0]} {parts[1]}"
    if kind == "equation":
        return f"{inside[0]} = {inside[1]}"
    if kind == "interval":
        low = str(parts[0]).replace("-", _minus(style))
        return f"{parts[2][0]}{low}, {parts[1]}{parts[2][1]}"
    return f"{inside[0]} {inside[2]} {inside[1]}"


def _minus(style):
    return "−" if style == "unicode" else "-"


def _is_short(part):
    return part[0] == "letter" or (part[0] == "number" and part[1] < 10)


def value(answer, point):
    """The floating-point value of an expression, or None if it has none."""
    try:
        found = _value(answer, point)
    except (ArithmeticError, ValueError):
        return None
    return found if isinstance(found, float) and math.isfinite(found) and abs(found) < 1e12 else None


def _value(answer, point):
    kind, *parts = answer
    if kind == "number":
        return float(parts[0])
    if kind == "letter":
        return point[parts[0]]
    inside = [_value(part, point) if isinstance(part, tuple) else part for part in parts]
    return {
        "fraction": lambda a, b: a / b,
        "sum": lambda a, b: a + b,
        "difference": lambda a, b: a - b,
        "product": lambda a, b: a * b,
        "power": lambda a, n: a**n,
        "root": math.sqrt,
        "sin": math.sin,
        "cos": math.cos,
        "ln": math.log,
        "negative": lambda a: -a,
    }[kind](*inside)


POINTS = [
    {letter: float(Fraction(7 * index + 3 * shift + 2, 5 + shift)) for index, letter in enumerate("abxyzw")}
    for shift in range(1, 5)
]


def differ(one, two):
    """Whether two expressions clearly differ at a point where both have a value."""
    pairs = [(value(one, point), value(two, point)) for point in POINTS]
    return any(a is not None and b is not None and abs(a - b) > 1e-6 * max(1e-3, abs(a), abs(b)) for a, b in pairs)


def changes(answer):
    """Answers that differ in one leaf, sign, unit, order or condition; expressions only where their values differ."""
    kind, *parts = answer
    if kind == "tuple":
        swapped = ("tuple", parts[1], parts[0], parts[2])
        found = [swapped] if differ(parts[0], parts[1]) else []
        return found + [("tuple", one, *parts[1:]) for one in _changed(parts[0])] + [("tuple", parts[0], parts[1])]
    if kind == "set":
        return [("set", ("number", parts[0][1] + 50), *parts[1:])]
    if kind == "quantity":
        others = [unit for unit in UNITS if unit != parts[1]]
        return [("quantity", parts[0], unit) for unit in others] + [("quantity", ("number", parts[0][1] + 1), parts[1])]
    if kind == "equation":
        return [("equation", parts[0], one) for one in _changed(parts[1])] + [("equation", ("letter", "v"), parts[1])]
    if kind == "interval":
        low, high, brackets = parts
        turned = {"()": "(]", "[]": "[)", "(]": "[]", "[)": "()"}[brackets]
        return [("interval", low, high, turned), ("interval", low - 1, high, brackets)]
    if kind in ("below", "given"):
        first, bound, sign = parts
        other = ">" if sign == "<" else "<"
        found = [(kind, first, bound + 1, sign), (kind, first, bound, other)]
        return found + ([("given", one, bound, sign) for one in _changed(first)] if kind == "given" else [])
    return _changed(answer)


def _changed(answer):
    return [one for one in _leaves_changed(answer) if differ(answer, one)]


def _leaves_changed(answer):
    kind, *parts = answer
    if kind == "number":
        return [("number", parts[0] + 1), ("negative", answer)]
    if kind == "letter":
        return [("letter", LETTERS[LETTERS.index(parts[0]) - 1]) if parts[0] in LETTERS else ("letter", "a")]
    found = [("sum" if kind == "difference" else "difference", *parts)] if kind in ("sum", "difference") else []
    for index, part in enumerate(parts):
        if isinstance(part, tuple):
            found += [(kind, *parts[:index], one, *parts[index + 1 :]) for one in _leaves_changed(part)]
        else:
            found.append((kind, *parts[:index], part + 1, *parts[index + 1 :]))
    return found
