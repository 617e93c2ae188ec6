from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from math_eval.grading.exact import as_fraction, decide, normalise

EQUAL = [
    (r"\frac{1}{2}", "0.50"),
    (r"\frac12", "1/2"),
    (r"\dfrac{14}{3}", r"\frac{14}{3}"),
    (r"-\frac{1}{2}", "-0.5"),
    (r"1\frac{4}{5}", "1.8"),
    ("1 4/5", "9/5"),
    ("1,000", "1000 dollars"),
    (r"\$32,\!348", "32348"),
    (r"11,\! 111,\! 111,\! 100", "11111111100"),
    ("27.0", "27"),
    ("025", "25"),
    (".5", "0.5"),
    (r"50\%", "0.5"),
    ("50", r"50\%"),
    (r"90^\circ", "90"),
    (r"864 \mbox{ inches}^2", "864"),
    (r"5.4 \text{ cents}", "5.4"),
    (r"15\mbox{ cm}^2", r"15 \text{ cm}^2"),
    (r"\text{Evelyn}", "evelyn"),
    (r"\text{(C)}", "C"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
    ("(1, 0.5)", r"(1,\frac{1}{2})"),
    ("3, 5, 7", "7,5,3"),
    (r"\{1,2\}", "{2, 1}"),
    ("x=5", "5"),
    (r"x \in [-2,7]", "[-2,7]"),
    ("4210_{5}", "4210_5"),
    ("１２", "12"),
    ("−5", "-5"),
    ("**73**", "$73$"),
    (r"\boxed{4}", "4."),
    ("10\u2009000", "10000"),
]
DIFFERENT = [
    ("33.33", "33.333"),
    ("1/3", "0.333333"),
    ("99999999999999999999", "99999999999999999998"),
    ("0.5", "50"),
    ("(B)", r"\text{(C)}"),
    (r"\text{east}", "west"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "(1,2,3)"),
    ("1,2", "1,3"),
]
UNSURE = [
    (r"\sqrt{8}", r"2\sqrt{2}"),
    ("5x", "5"),
    ("5 x", "5"),
    ("3 pi", "3"),
    ("5 million", "5"),
    ("2 1", "21"),
    ("(1,2)", "[1,2]"),
    ("5 hours", "5 minutes"),
    (r"2 \text{ or } 3", "2"),
    ("x", "y"),
    ("", "1"),
]


@pytest.mark.parametrize(("answer", "gold"), EQUAL)
def test_equal_answers(answer, gold):
    assert decide(answer, gold) is True
    assert decide(gold, answer) is True


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_different_answers(answer, gold):
    assert decide(answer, gold) is False
    assert decide(gold, answer) is False


@pytest.mark.parametrize(("answer", "gold"), UNSURE)
def test_what_needs_algebra_is_left_open(answer, gold):
    assert decide(answer, gold) is None


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_are_equal_exactly_when_their_values_are(one, two):
    spelled = rf"\frac{{{one.numerator}}}{{{one.denominator}}}"
    assert decide(spelled, f"{two.numerator}/{two.denominator}") is (one == two)
    assert decide(spelled, str(one)) is True


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_thousands_separators_do_not_change_a_number(number):
    assert as_fraction(f"{number:,}") == (Fraction(number), False)


@given(st.text(max_size=60))
def test_any_text_equals_itself_or_is_left_open(text):
    assert decide(text, text) in (True, None)
    assert decide(text, text) is True or not normalise(text)
