"""The exact expressions against sympy, which shares no code with them, on generated pairs."""

from fractions import Fraction

import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from math_eval.grading.expression import read, same_value
from math_eval.grading.polynomial import Quotient, add, constant, equal, multiply, proportional, radical, symbol

x, y = sympy.symbols("x y")
_POINT = {x: sympy.Rational(31, 17), y: sympy.Rational(-47, 29)}
_WHOLE = st.integers(1, 12).map(sympy.Integer)
_LEAVES = st.one_of(
    _WHOLE,
    st.builds(sympy.Rational, st.integers(-9, 9), st.integers(1, 9)),
    st.builds(sympy.root, _WHOLE, st.integers(2, 3)),
    st.sampled_from([x, y, sympy.pi, -x, 2 * sympy.pi]),
)


def _grown(inner):
    return st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda a, b: a - b, inner, inner),
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(lambda a, b: a / b, inner, inner.filter(lambda b: b != 0)),
        st.builds(lambda a, n: a**n, inner, st.integers(1, 3)),
    )


_EXPRESSIONS = st.recursive(_LEAVES, _grown, max_leaves=6).filter(lambda e: e.is_finite is not False)


def _differ(one, two):
    """Whether two expressions differ at one point, to forty of sixty digits."""
    a, b = (expression.subs(_POINT).evalf(60) for expression in (one, two))
    return abs(a - b) > sympy.Float("1e-40") * max(1, abs(a), abs(b))


@settings(max_examples=150, deadline=None)
@given(_EXPRESSIONS, _EXPRESSIONS)
def test_generated_pairs_are_judged_as_sympy_does_or_not_at_all(one, two):
    for left, right in ((one, sympy.expand(one)), (one, sympy.together(one)), (one, two), (one, one + two)):
        if right.has(sympy.nan, sympy.zoo) or left.has(sympy.nan, sympy.zoo):
            continue
        verdict = same_value(sympy.latex(left), sympy.latex(right))
        assert verdict in (not _differ(left, right), None)


@settings(max_examples=60, deadline=None)
@given(st.integers(-6, 6), st.integers(-6, 6), st.integers(1, 6), st.integers(2, 30))
def test_every_polynomial_equals_its_expansion(a, b, c, n):
    factored = f"({a}x{b:+}y)({c}x-1)"
    assert same_value(factored, sympy.latex(sympy.expand((a * x + b * y) * (c * x - 1)))) is True
    assert same_value(rf"({a}{b:+}\sqrt{{{n}}})^2", sympy.latex(sympy.expand((a + b * sympy.sqrt(n)) ** 2))) is True


def test_a_product_of_roots_is_worked_out_by_hand():
    two, eight = radical(Fraction(2), 2), radical(Fraction(8), 2)
    assert multiply(two, eight) == constant(4)
    assert radical(Fraction(1, 2), 2) == {(("2", Fraction(1, 2)),): Fraction(1, 2)}
    assert radical(Fraction(0), 2) == {}
    assert radical(Fraction(16), 3) == {(("2", Fraction(1, 3)),): Fraction(2)}


def test_quotients_are_equal_across_the_line_and_not_where_a_letter_may_be_a_number():
    one, i = constant(1), symbol("i")
    rationalised = Quotient(add(one, i, -1), constant(2))
    assert equal(Quotient(one, add(one, i)), rationalised) is None
    assert equal(Quotient(one, add(one, i)), Quotient(i)) is False
    assert equal(Quotient(symbol("e")), Quotient(symbol(r"\pi"))) is None
    assert equal(Quotient(symbol("x"), multiply(symbol("x"), symbol("y"))), Quotient(one, symbol("y"))) is True


def test_only_multiples_by_a_number_are_proportional():
    line = add(symbol("x"), symbol("y"))
    assert proportional(line, multiply(line, constant(-3)))
    assert not proportional(line, multiply(line, symbol("x")))
    assert not proportional({}, {})


def test_what_has_two_meanings_or_is_too_large_is_not_read():
    for text in (
        "1/2x", r"2\frac{1}{2}", "x^12", "f(x)", "2 3", "x^y", r"\sin x", "sin(x)", "2^3^4", "1.2e5", "(x", "x)", "",
        "(a+b+c+d)^{100}", "2^{9999}", r"\sqrt{x}", r"\sqrt[3]{-8}", "x!", "|x|", "(" * 200 + "1" + ")" * 200, "4_5",
    ):  # fmt: skip
        assert read(text) is None, text


@given(st.text(alphabet="0123456789xyie.,+-*/^(){}[]_ \\pifracsqt", max_size=40))
def test_any_text_is_read_or_refused_and_equals_itself(text):
    if read(text) is not None:
        assert same_value(text, text) in (True, None)
