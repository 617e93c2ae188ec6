import pytest
from hypothesis import given
from hypothesis import strategies as st

from math_eval.grading.decide import decide
from math_eval.reading import read

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
    (r"4.5 \times 10^{33}", "4.5e33"),
    ("4.5 x 10^33", "4.5E+33"),
    (r"6.67 \times 10^{-11} \text{ N m}^2", "6.67e-11"),
    (r"-\frac{1}{500}", "-2e-3"),
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
    (r"\sqrt{8}", r"2\sqrt{2}"),
    ("sqrt(8)", r"2\sqrt2"),
    (r"\frac{1}{\sqrt{3}}", r"\frac{\sqrt{3}}{3}"),
    (r"5^{1/3}", r"\sqrt[3]{5}"),
    ("12π", r"12 \pi"),
    ("p-q", "-q+p"),
    ("(x+1)^2", "x^2+2x+1"),
    (r"\frac{x^2-1}{x-1}", "x+1"),
    (r"\frac{20000}{\pi} \text{ m}", r"\frac{20000}{\pi}"),
    ("1+274i", "274i + 1"),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}"),
    (r"\{1\pm\sqrt{5},-2\}", r"-2, 1-\sqrt{5}, \sqrt{5}+1"),
    (r"(0,9) \cup (9,36)", r"(9,36)\cup(0,9)"),
    (r"\begin{pmatrix} 1 \\ \frac42 \end{pmatrix}", r"\begin{bmatrix}1.0\\2\end{bmatrix}"),
    ("2x+2y=4", "x + y - 2 = 0"),
    ("y = 2x+3", "3+2x"),
    ("1,22", "1.22"),
    ("-0,111", "-0.111"),
    ("x=1, x=2", "2, 1"),
    ("185\\", "185"),
    ("185 \\\\", "185"),
    (r"0.\overline{36}", r"\frac{4}{11}"),
    (r"-1.2\overline{3}", r"-\frac{37}{30}"),
    (r"0.\overline{9}", "1"),
    ("six", "6"),
    (r"\text{Twelve}", "12"),
    ("negative 5", "-5"),
    ("60 km/h", "60"),
    ("5 m/s", r"5 \text{ m/s}"),
    ("3 hrs", r"3 \text{ hours}"),
    ("12 square feet", r"12 \text{ ft}^2"),
    ("6 red balls", "6"),
    (r"\langle 1,2 \rangle", "(1,2)"),
    (r"\varnothing", r"\emptyset"),
    ("(-infinity, 3]", r"(-\infty,3]"),
    (r"\textbf{(B)}\ 12", "B"),
    (r"\textbf{(B)}\ 12", "12"),
    (r"\textbf{(B)}\ 12", r"\text{(B) } 12.0"),
    ("Option C", r"\text{(C)}"),
    (r"\sin^2 x", r"1-\cos^2 x"),
    (r"\sqrt{2}", "1.41421356"),
    (r"\sqrt{7+4\sqrt{3}}", r"2+\sqrt{3}"),
    ("i^2", "-1"),
    (r"(-1)^{2/3}", "1"),
    ("x=5", "2x=10"),
    ("4210", "4210_5"),
]
DIFFERENT = [
    (r"4.49 \times 10^{33}", "4.5e33"),
    ("33.33", "33.333"),
    ("1/3", "0.333333"),
    ("99999999999999999999", "99999999999999999998"),
    ("0.5", "50"),
    ("(B)", r"\text{(C)}"),
    (r"\text{east}", "west"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "(1,2,3)"),
    ("1,2", "1,3"),
    (r"\sqrt{2}", r"\sqrt{3}"),
    (r"\sqrt{2}", "1.42"),
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
    ("x", "y"),
    ("3 pi", "3"),
    ("2x+1", "2x"),
    ("(1,2]", "[1,3)"),
    ("7", "(7,8)"),
    ("5", r"\text{Evelyn}"),
    (r"\text{(C)}", "28"),
    (r"6", r"\begin{pmatrix} 6 \\ 0 \end{pmatrix}"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 3 \end{pmatrix}"),
    (r"-\infty", r"\infty"),
    ("2516_8", "40_9"),
    ("52_8", r"11\sqrt2"),
    ("5x - 7y + 4 = 0", "60"),
    ("1,222", "1.222"),
    ("5 hours", "5 minutes"),
    ("12 am", "12 pm"),
    ("5 m", "5 cm"),
    ("15 \\text{ cm}^2", "15 \\text{ cm}^3"),
    ("15 square inches", r"15 \text{ in}"),
    ("5 or more", "5"),
    (r"\text{not } 5", "5"),
    (r"5 \text{ or less}", "5"),
    (r"\{1,2\}", "(1,2)"),
    (r"0.\overline{3}", "0.3"),
    (r"\textbf{(B)}\ 12", "C"),
    (r"\textbf{(B)}\ 12", "13"),
    (r"\textbf{(B)}\ 12", r"\textbf{(C)}\ 12"),
    (r"\text{(A)} \cup \text{(B)}", "B"),
    ("Option C", "B"),
    ("six", "7"),
    (r"\sin 2x", r"2\sin x"),
    ("ln 4x", "4 ln x"),
    ("5x", "5"),
    ("5 m", "5"),
    (r"73\%", r"73^\circ"),
    ("1/2x", "x/2"),
    ("2^{x}", "x^{2}"),
    (r"e\pi", r"\pi^2"),
    ("2k", "2K"),
    (r"2\frac{1} {2}", "1"),
    ("x=1,y=2", "x=2,y=1"),
    ("x=5", "y=5"),
    ("101_2", "5_{10}"),
    ("{1,2}", r"(2,1)"),
    (r"28\%", r"The answer is 28\%. It is not sure"),
    ("1,000, 2,000", "3"),
    ("1,2", "1.2"),
    ("5 million", "5"),
    ("2 1", "21"),
    ("(1,2)", "[1,2]"),
    (r"2 \text{ or } 3", "2"),
    ("5 ab", "5"),
    ("5 x/y", "5"),
    ("3 fourths", "3"),
    ("5 widgets", r"5 \text{ gadgets}"),
    (r"5 \text{ ms}", r"5 \text{ m}"),
    ("", "1"),
]
UNDECIDED = [("0^0", "1"), (r"\frac{1}{x-x}", "1"), (r"\int_0^1 x dx", r"\frac12"), ("9^{9^{9^9}}", "1")]


@pytest.mark.parametrize(("answer", "gold"), EQUAL)
def test_equal_answers(answer, gold):
    assert decide(answer, gold).equal is True
    assert decide(gold, answer).equal is True


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_different_answers(answer, gold):
    assert decide(answer, gold).equal is False
    assert decide(gold, answer).equal is False


@pytest.mark.parametrize(("answer", "gold"), UNDECIDED)
def test_what_has_no_value_here_is_left_open(answer, gold):
    assert decide(answer, gold).equal is None
    assert decide(gold, answer).equal is None


@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_fractions_are_equal_exactly_when_their_values_are(one, two):
    spelled = rf"\frac{{{one.numerator}}}{{{one.denominator}}}"
    assert decide(spelled, f"{two.numerator}/{two.denominator}").equal is (one == two)
    assert decide(spelled, str(one)).equal is True


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_thousands_separators_do_not_change_a_number(number):
    assert decide(f"{number:,}", str(number)).equal is True
    assert decide(f"{number:,}".replace(",", "{,}"), str(number)).equal is True


@given(st.text(max_size=60))
def test_any_text_equals_itself_unless_nothing_of_it_is_seen(text):
    assert decide(text, text).equal is True or not read(text).spelling


@given(
    st.text(alphabet="0123456789xyieABk.,+-*/^(){}[]_|!'%<>= \\pifracsqtn&:;$", max_size=40),
    st.sampled_from(["7", "x+1", "(1,2)"]),
)
def test_any_text_gets_a_decision(text, gold):
    assert decide(text, gold).equal in (True, False, None)
