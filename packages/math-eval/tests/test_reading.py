"""What the reader makes of answers: every spelling of one answer gives equal trees, a changed one is never correct."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from math_eval.grading.decide import decide
from math_eval.reading import macros, read
from math_eval.reading.tree import show
from math_eval.reading.writer import Unwritable, latex

from .renderings import STYLES, answers, changes, expressions, spell

TREES = {
    r"\frac\pi6": "pi / 6",
    r"\sqrt\frac23": "sqrt(2 / 3)",
    r"3^\frac12": "3^(1 / 2)",
    r"\frac3\pi+2": "3 / pi + 2",
    r"2\tfrac{1}{4}": "9/4",
    "5¼": "21/4",
    "2 and 1/4": "9/4",
    r"0.\dot{0}7692\dot{3}": "1/13",
    r"0.1666\ldots": "1/6",
    "2.4x10^4": "2.4 * 10^4",
    "10^-2": "10^-2",
    "twenty-four": "24",
    "three and a half": "7/2",
    "4 dozen": "48",
    r"\$3.2 \text{ million}": "3200000 dollar",
    "30km/h": "30 h^-1 km",
    r"6\text{ feet }2\text{ inches}": "37/6 ft",
    r"20^\circ 30'": "(20 + 1/2)°",
    "4:15 p.m.": "4:15 pm",
    "(1101)_2": "1101_2",
    r"\sin^{-1}(1/3)": "arcsin(1 / 3)",
    r"\log_2 5 \cdot \log_5 8": "log(5, 2) * log(8, 5)",
    "ln(5)/2": "ln(5) / 2",
    r"\sin 3t": "sin(3 * t)",
    "BAC": "BAC",
    r"\mathbf{p}\times\vec{q}": "vec p × vec q",
    r"\angle PQR": "angle PQR",
    "P(A|B)": "P(A with B)",
    "f''(x)": "f''(x)",
    r"\Bigl(3,4\Bigr]": "(3, 4]",
    "[[4,0],[7,1]]": "[[4, 0], [7, 1]]",
    r"\begin{pmatrix} 2 & 1 \\[4pt] 6 & 5 \end{pmatrix}": "[2, 1; 6, 5]",
    r"\begin{cases} x=4 \\ y=7 \end{cases}": "x = 4, y = 7",
    r"\{x \mid x>4\}": "x with x > 4",
    r"\mathbb R\setminus\{5\}": "ℝ ∖ {5}",
    r"x\equiv 3\pmod{8}": "x ≡ 3 mod 8",
    r"k\pi, k \in \mathbb{Z}": "k * pi given k ∈ ℤ",
    r"m \text{ if } m \text{ is even}": 'm given m = "even"',
    r"6\text{ units left}": "6 units left",
    r"9 \text{ (since } 4+5=9)": '9 remark "since 4 + 5 = 9"',
    r"\text{Area} = 18\text{ cm}^2": '"area" = 18 cm^2',
    r"\mathbf{(D)}\ 9": "option D (9)",
    "D: a monotone sequence": 'option D ("a monotone sequence")',
    r"\phantom{1}34": "34",
    "3,6,9,…": "3, 6, 9, …",
}
UNREAD = (
    "1/2x", "2 1", r"\begin{x} 1", r"\frac{1}", r"\gg", "(1", "1)", r"\sqrt", "x^",
    r"\begin{equation*}  \end{equation*}", "2^3^2",
    "3.14159…", "ln 5/2", "a b 2",
    "(" * 40 + "1" + ")" * 40, "5 @ 3", r"\unknown{3}", "", " ", "9" * 400,
)  # fmt: skip


@pytest.mark.parametrize(("text", "tree"), TREES.items())
def test_an_answer_is_read_as_people_mean_it(text, tree):
    assert show(read(text).tree) == tree


@pytest.mark.parametrize("text", UNREAD, ids=lambda text: text[:12])
def test_what_has_no_place_or_two_meanings_is_unread_and_says_why(text):
    assert read(text).tree is None
    assert read(text).reason


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answers, st.sampled_from(STYLES), st.sampled_from(STYLES))
def test_every_spelling_of_an_answer_is_read_as_the_same_answer(answer, one, two):
    left, right = spell(answer, one), spell(answer, two)
    assert read(left).tree is not None
    assert decide(left, right).equal is True


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answers, st.sampled_from(STYLES), st.sampled_from(STYLES), st.data())
def test_an_answer_with_one_change_is_never_correct(answer, one, two, data):
    found = changes(answer)
    if found:
        changed = data.draw(st.sampled_from(found))
        assert decide(spell(changed, one), spell(answer, two)).equal is not True


@settings(max_examples=100, deadline=None)
@given(expressions)
def test_the_written_latex_of_a_tree_is_read_back(answer):
    tree = read(spell(answer, "braces")).tree
    try:
        text = latex(tree)
    except Unwritable:
        return
    assert decide(text, spell(answer, "plain")).equal is True
    assert read(text).tree is not None


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    reading = read(text)
    assert (reading.tree is None) == bool(reading.reason)


@pytest.mark.parametrize(
    "piece", ["(", "[", "{", r"\{", "<", "|", "+", "-", "^", "_", "x,", "1 and ", "∪", "½", "&", "'"]
)
def test_ten_thousand_marks_are_read_or_refused(piece):
    assert read(piece * 10_000).spelling is not None


@pytest.mark.parametrize("name", sorted(macros.KNOWN))
def test_every_known_macro_may_be_repeated(name):
    assert read(f"\\{name} " * 2000).spelling is not None


@pytest.mark.parametrize(
    ("inside", "before", "after"),
    [
        ("x", r"\arctan ", ""),
        ("2", "", "/3"),
        ("5", "", r"\%"),
        ("x", r"\sqrt ", ""),
        ("1", r"\frac1", ""),
    ],
)
def test_nesting_without_brackets_is_limited_as_that_with_brackets_is(inside, before, after):
    short, long = (before * count + inside + after * count for count in (20, 400))
    assert read(short).tree is not None
    assert read(long).tree is None
    assert decide(long, short).equal is False
