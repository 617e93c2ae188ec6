import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_compressor.text.formulas import FormulaFinder
from cot_compressor.text.segment import segment

MATHEMATICS = st.text(
    alphabet=st.sampled_from(list("0123456789xyab +-*/=<>()[]{}$\\.,!?%|^_\n\r\t²√≤×é👍\ud800\x00'’:;\"`")),
    max_size=120,
)
LINES = st.lists(
    st.sampled_from(["```", "```python", "$x", "y$", "\\begin{align}", "\\end{align}", "a = 1", "", "\\[", "\\]"]),
    max_size=12,
).map("\n".join)


def pieces(text: str, kind: str | None = None) -> list[str]:
    return [text[unit.start : unit.end] for unit in segment(text) if kind in (None, unit.kind)]


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("12 + 15 = 27. Check: 12 + 15 = 27, yes.", ["12 + 15 = 27", "12 + 15 = 27"]),
        ("Natalia sold 48/2 = 24 clips.", ["48/2 = 24"]),
        ("That is 12 x $5 = $60.", ["12 x $5 = $60"]),
        ("20 eggs x $2 = $40.", ["20 eggs x $2 = $40"]),
        ("x + y = 7, so x <= 3 and 2x + 3y ≥ 10.", ["x + y = 7", "x <= 3", "2x + 3y ≥ 10"]),
        ("P(C) = 1 - P(A) - P(B).", ["P(C) = 1 - P(A) - P(B)"]),
        ("P(A and B) = 1/3", ["P(A and B) = 1/3"]),
        ("1/3 = (1*4)/(3*4) = 4/12. Yep", ["1/3 = (1*4)/(3*4) = 4/12"]),
        ("f(x, y) = 2x^2 - 3", ["f(x, y) = 2x^2 - 3"]),
        ("2 x 3 = 6; 2 x + 3 = 7", ["2 x 3 = 6", "2 x + 3 = 7"]),
        ("5! = 120! Wow!", ["5! = 120"]),
        ("|x - 3| = 5", ["|x - 3| = 5"]),
        ("3 km + 4 km = 7 km.", ["3 km + 4 km = 7 km"]),
        ("12 + 15\n= 27\n- 3 apples", ["12 + 15\n= 27"]),
        ("It is 1,350 + (6 *350) = $3,450 *in all*", ["1,350 + (6 *350) = $3,450"]),
        ("2\\pi r = 12", ["2\\pi r = 12"]),
        ("sqrt(16) = 4", ["sqrt(16) = 4"]),
        ("1 + 2 + ... + 10 = 55...", ["1 + 2 + ... + 10 = 55"]),
        ("x = 3\n-2x + 5 = 1", ["x = 3", "-2x + 5 = 1"]),
        ("a $x = 5.$ b \\(y\\) c \\[z\n= 1\\] d $$w$$ e", ["$x = 5.$", "\\(y\\)", "\\[z\n= 1\\]", "$$w$$"]),
        ("\\begin{align}a &= b \\\\ c &= d\\end{align} so", ["\\begin{align}a &= b \\\\ c &= d\\end{align}"]),
        ("so \\boxed{\\frac{1}{4}}.", ["\\boxed{\\frac{1}{4}}"]),
        ("\\frac{1}{3} + \\frac{5}{12} = \\frac{9}{12} here", ["\\frac{1}{3} + \\frac{5}{12} = \\frac{9}{12}"]),
        ("$x$ = 3 and **12 + 15 = 27**", ["$x$ = 3", "12 + 15 = 27"]),
        ("C(n, k) = n! / (k!(n - k)!).", ["C(n, k) = n! / (k!(n - k)!)"]),
        ("16! = 16 × 15 × 14!. So 2 + 2 = 4! Wow 5! So do I!", ["16! = 16 × 15 × 14!", "2 + 2 = 4"]),
        ("4! = 4 * 3! So 3! *1^3 / (3*1)^3=6/27 is", ["4! = 4 * 3!", "3! *1^3 / (3*1)^3=6/27"]),
        ("7! = 7 * 6 * 5 * 4 * 3 * 2 * 1 = 42 * 5! So", ["7! = 7 * 6 * 5 * 4 * 3 * 2 * 1 = 42 * 5!"]),
        ("so du = 10^6 dt and\nΓᵢⱼᵏ = (1/2) gᵢₗ ( ∂ⱼ gₗᵏ )", ["du = 10^6 dt", "Γᵢⱼᵏ = (1/2) gᵢₗ ( ∂ⱼ gₗᵏ )"]),
        ("$1150/week * 50 weeks/year = $57,500 then", ["$1150/week * 50 weeks/year = $57,500"]),
        ("3 groups * 8 birds/group, 16.7 m/s; 6 and/or 7", ["3 groups * 8 birds/group", "16.7 m/s"]),
        ("it is 5/x = 2 and 3 1/2 + 1/2 = 4\n5/11 of it", ["5/x = 2", "3 1/2 + 1/2 = 4", "5/11"]),
        ("so sin x = 1, log_2(8) = 3, choose 2 men", ["sin x = 1", "log_2(8) = 3"]),
        ("sum_{k=0}^n C(n,k) = 2^n over E[Xi]", ["sum_{k=0}^n C(n,k) = 2^n", "E[Xi]"]),
        ("n=5,6,13 or x=3,y=4 or 5+7=12,so a2s", ["n=5,6,13", "x=3", "y=4", "5+7=12"]),
        ("x ∈ [1, 2) and ⌊5/2⌋ = 2 (see [1) here", ["x ∈ [1, 2)", "⌊5/2⌋ = 2"]),
        ("x1y2 + x2y3 = 5", ["x1y2 + x2y3 = 5"]),
        ("\\frac{a}{b} = \\left( \\frac{c}{d} \\right)^2 so", ["\\frac{a}{b} = \\left( \\frac{c}{d} \\right)^2"]),
        (
            "\\begin{array}{c} \\begin{array}{c} x \\end{array} = 3 \\end{array} so",
            ["\\begin{array}{c} \\begin{array}{c} x \\end{array} = 3 \\end{array}"],
        ),
        ("\\begin{cases} so\n\nwe say \\begin{cases} y \\end{cases} z", ["\\begin", "\\begin{cases} y \\end{cases}"]),
    ],
)
def test_formulas_are_one_unit_each(text: str, formulas: list[str]) -> None:
    assert pieces(text, "math") == formulas


@pytest.mark.parametrize(
    "text",
    [
        "$5 for eggs and $6 for milk",
        "It costs $5, or $ 6 without",
        "the well-known 4-letter word, i.e. the 3rd",
        "he/she and/or they",
        "(4 choices) or (see above)",
        "Wait - no. It's fine!",
        "\\(unclosed and $unclosed",
        "| a table | row |",
        "1. First\n2. Second",
    ],
)
def test_prose_and_currency_are_not_formulas(text: str) -> None:
    assert pieces(text, "math") == []


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("91 is not a prime. No, it isn't 5", ["not a prime", "isn't 5"]),
        ("It is NOT\u00a0divisible by 7, nor by 3", ["NOT\u00a0divisible by 7", "nor by 3"]),
        ("at least 3 of them, 5 more than twice that", ["at least 3", "more than twice"]),
        ("x isn’t $y$ unless x = 0", ["isn’t $y$", "unless x = 0"]),
        ("only 12/4 = 3 are left, only three", ["12/4 = 3", "only three"]),
        ("not a + b = 3", ["not a + b = 3"]),
        ("no more than 12/4 = 3", ["no more than 12/4 = 3"]),
        ("At most\n5 is less than, or not", ["At most", "less than"]),
        ("less = 3", ["less = 3"]),
        ("91 isn't actually divisible by 9", ["isn't actually divisible by 9"]),
        ("so greater than or equal to 5 or less", ["greater than or equal to 5"]),
        ("no. 5 is less, at last", []),
        ("91 is **not** a prime, not *a* prime", ["not** a prime", "not *a* prime"]),
        ('not "prime", not >60, at least **3** of it', ['not "prime"', "not >60", "at least **3**"]),
        (
            "not (yet) prime and not (red, red) or not (a + b) = 3",
            ["not (yet) prime", "not (red, red)", "not (a + b) = 3"],
        ),
        ("less than a (said twice)", ["less than a"]),
        ("the sum divided by 3 = 20", ["divided by 3 = 20"]),
    ],
)
def test_a_negation_and_a_comparison_are_one_unit_with_what_follows(text: str, phrases: list[str]) -> None:
    assert [piece for piece in pieces(text) if len(piece.split()) > 1] == phrases


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("10+60=70, +30=100", ["10+60=70", "+30=100"]),
        ("the sum (as said) + 5 = 9 and / 3 = 3", ["+ 5 = 9", "/ 3 = 3"]),
        ("50% of 120 = 60, 1/3 of 27 = 9, 2 of 5 people", ["50% of 120 = 60", "1/3 of 27 = 9"]),
        ("60 divided by 3 = 20, 6 multiplied by (2) = 12", ["60 divided by 3 = 20", "6 multiplied by (2) = 12"]),
        ("\\sqrt 2 = 1.41 and ∠A + ∠B = 180°", ["\\sqrt 2 = 1.41", "∠A + ∠B = 180°"]),
        ("1/2 + (h₁/2)/2 = 5, x² + 1 = 5, x₁ = 2", ["1/2 + (h₁/2)/2 = 5", "x² + 1 = 5", "x₁ = 2"]),
        ("560//10 = 56, see http://a.b", ["560//10 = 56"]),
        ("$x$ divided by 3 = 20, x multiplied by 3 = 4", ["$x$ divided by 3 = 20", "x multiplied by 3 = 4"]),
        ("$\\frac13$ of 27 = 9", ["$\\frac13$ of 27 = 9"]),
        ("所以27-9=18。x_1是5", ["27-9=18"]),
        ("* 3 = 9\n+ 4 = 4", ["3 = 9", "4 = 4"]),
        ("**Total** = 5 and **27**", []),
    ],
)
def test_no_equation_loses_what_it_begins_with(text: str, formulas: list[str]) -> None:
    assert pieces(text, "math") == formulas


@pytest.mark.parametrize("text", ["\\begin{align} x goes on", "\\boxed{ x goes on"])
def test_an_unclosed_command_takes_no_text_with_it(text: str) -> None:
    assert pieces(text)[-3:] == ["x", "goes", "on"]


def test_a_line_of_code_is_one_unit_and_its_dollars_open_nothing() -> None:
    text = "Run $x$:\n```python\nprice = '$5' # a b\n\n  print(price)\n```\nso $y$ ```unclosed"
    assert pieces(text, "math") == ["$x$", "price = '$5' # a b", "print(price)", "$y$"]
    assert pieces("```\na b $x$", "math") == ["$x$"]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("Host 192.0.2.17 runs v2.10.4-rc1, build 7.", ["192.0.2.17", "v2.10.4-rc1"]),
        (
            "At 2024-05-06T07:08:09+02:00, or 14:30 UTC, or 3 p.m. on 7 May 2024.",
            ["2024-05-06T07:08:09+02:00", "14:30 UTC", "3 p.m.", "7 May 2024"],
        ),
        ("Open https://a.example/b?c=d, or mail x.y@z.example.", ["https://a.example/b?c=d", "x.y@z.example"]),
        ("Edit src/main/app.py and /etc/hosts in lib/.", ["src/main/app.py", "/etc/hosts", "lib/"]),
        ("Run `a b` or ``c d e`` then `f`.", ["`a b`", "``c d e``", "`f`"]),
        ('Say {"a": [1, 2], "b": {"c": 3}} or ["x", "y"].', ['{"a": [1, 2], "b": {"c": 3}}', '["x", "y"]']),
        ("So <answer>(B) 7</answer> it is </think> now.", ["<answer>(B) 7</answer>", "</think>"]),
        ("Pick (C), as option B fails.", ["(C)", "option B"]),
        ("Badge K77C201 opened oven-3 with --dry-run.", ["K77C201", "oven-3", "--dry-run"]),
        ("| a | b |\n|---|---|\n| 1 | 2 |", ["| a | b |", "|---|---|", "| 1 | 2 |"]),
        ("It takes at least 20 minutes at 5 km/h for 40 mm.", ["at least 20 minutes", "5 km/h", "40 mm"]),
        ("The mix needs at most 35 % of sand and 8 % lime.", ["at most 35 %", "8 %"]),
        ("Valve QV-80/A leaks, as plugin==3.1.0 on ruby3.2 says.", ["QV-80/A", "plugin==3.1.0", "ruby3.2"]),
    ],
)
def test_a_literal_and_a_number_with_its_unit_are_one_unit(text: str, whole: list[str]) -> None:
    found = pieces(text)
    assert [piece for piece in whole if piece not in found] == []


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("so v = u + at = 4 + 3 * 6 = 22 m/s then", ["v = u + at = 4 + 3 * 6 = 22 m/s"]),
        ("if P -> Q and Q → R", ["P -> Q", "Q → R"]),
        ("2 H2 + O2 -> 2 H2O, and CaCO3 -> CaO + CO2", ["2 H2 + O2 -> 2 H2O", "CaCO3 -> CaO + CO2"]),
        ("Total cost = 5 * 3 = 15\nso x = 3 is it", ["Total cost = 5 * 3 = 15", "x = 3"]),
        ("3! is 3 * 2 * 1 = 6\nit is 3 = x", ["3! is 3 * 2 * 1 = 6", "3 = x"]),
        ("F = m a\nA = pi r^2\narea(ABC) = 5", ["F = m a", "A = pi r^2", "area(ABC) = 5"]),
        ("p = (number of heads) / 2 and x = 3 (mod 5)", ["p = (number of heads) / 2", "x = 3 (mod 5)"]),
        ("It follows:\n\n= 3 + 4\n= 7", ["= 3 + 4\n= 7"]),
        ("it is good - well, 5 - the rest, he/she", []),
    ],
)
def test_a_formula_grows_over_what_connects_its_parts(text: str, formulas: list[str]) -> None:
    assert pieces(text, "math") == formulas


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1. Heat it.\n2. Let it rest.", 2),
        ("Ask Dr. No vs. Mr. Yes. Then go.", 2),
        ('He said "Go." Then he left. (It rained.) Fine.', 4),
        ("他在这里。门开着！你呢？", 3),
    ],
)
def test_sentences_end_where_they_end(text: str, count: int) -> None:
    assert segment(text)[-1].step == count - 1


def test_a_long_line_of_code_is_cut_between_its_values() -> None:
    line = '{"events": [' + ", ".join(f'{{"at": {at}, "what": "door {at} open"}}' for at in range(9)) + "]}"
    found = pieces(f"```\n{line}\n```")
    assert found[0] == found[-1] == "```"
    assert '"what": "door 3 open"},' in found


def test_currency_and_signed_numbers_are_numbers() -> None:
    assert pieces("It costs $5 or $1,200.50, i.e. 50% of -3.", "number") == ["$5", "$1,200.50", "50%", "-3"]


def test_dollar_before_a_digit_does_not_close_a_formula() -> None:
    assert pieces("I have $20 and $x$ more", "math") == ["$x$"]


def test_a_dollar_before_a_calculator_mark_is_currency() -> None:
    text = "They cost 16+14=$<<16+14=30>>30\nSo each paid $5+$<<5+10=15>>15 for $x$"
    assert pieces(text, "math") == ["16+14", "16+14=30", "5+10=15", "$x$"]


def test_marks_and_emoji_stay_with_their_letter() -> None:
    assert pieces("cafe\u0301 👍🏽 नमस्ते") == ["cafe\u0301", "👍🏽", "नमस्ते"]


def test_steps_are_sentences_and_lines() -> None:
    text = "One here. Two, 2.5 here!\r\nThree 1 + 1 = 2. Four"
    steps = {unit.step: text[unit.start : unit.end] for unit in reversed(segment(text))}
    assert steps == {0: "One", 1: "Two", 2: "Three", 3: "Four"}


@pytest.mark.parametrize("text", ["", " \n\t ", "\u2003"])
def test_blank_text_has_no_units(text: str) -> None:
    assert segment(text) == []


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=80), MATHEMATICS, LINES))
def test_units_are_sorted_disjoint_and_rebuild_the_text(text: str) -> None:
    units = segment(text)
    borders = [0, *(border for unit in units for border in unit[:2]), len(text)]
    gaps = [text[low:high] for low, high in zip(borders[::2], borders[1::2], strict=True)]
    assert all(gap == "" or gap.isspace() for gap in gaps), "units cover all but white space"
    assert all(unit.start < unit.end for unit in units)
    assert all(left.end <= right.start for left, right in itertools.pairwise(units))
    assert all(0 <= right.step - left.step <= 1 for left, right in itertools.pairwise(units))


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from("+-*×/"))
def test_an_equation_before_any_sentence_end_is_whole(left: int, right: int, sign: str) -> None:
    equation = f"{left} {sign} {right} = 7"
    assert pieces(f"So {equation}. Next, {equation}, yes; {equation}! Is {equation}?", "math") == [equation] * 4


# A scanner that goes back over the text for every opener would need many minutes for these.
@pytest.mark.parametrize(
    "unit",
    [
        "$",
        "\\(",
        "(",
        "(a",
        "$a ",
        "\\[a",
        "|a+",
        "(a+",
        "\\frac{",
        "\\begin{a}",
        "$5 x ",
        "**a",
        "f(",
        "a_{",
        "-",
        "{",
        "```\n",
        "```\na\n",
        "not ",
        "not a ",
        "less than 5 ",
        ".?",
        "+1=",
        "50% of ",
        "not (",
    ],
)
def test_hostile_repetition_is_read_in_linear_time(unit: str) -> None:
    text = unit * (40_000 // len(unit))
    units = segment(text)
    assert units[0].start == 0
    assert units[-1].end == len(text.rstrip())


@pytest.mark.parametrize(
    "unit", ["**sum**+", "+**b**", "**x**-|y|*", "**1**=", "|a|**b**+", "**(a)**/", "**a+**b*|c", "**f(x)**+(b)-"]
)
def test_formulas_between_marks_are_read_a_bounded_number_of_times(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    operator = FormulaFinder.operator

    def counted(self: FormulaFinder, at: int) -> tuple[int, bool] | None:
        nonlocal asked
        asked += 1
        return operator(self, at)

    monkeypatch.setattr(FormulaFinder, "operator", counted)
    counts: list[int] = []
    for copies in (500, 1000, 2000):
        asked = 0
        segment(unit * copies)
        counts.append(asked)
    assert counts[2] - counts[1] <= 2.2 * (counts[1] - counts[0])


def test_a_long_formula_between_marks_is_one_formula() -> None:
    total = " + ".join(map(str, range(1, 41)))
    assert pieces(f"Hence x = **{total} = 820** in all.", "math") == [f"x = **{total} = 820**"]


def test_a_megabyte_of_openers_is_one_unit() -> None:
    assert len(segment("\\(" * 500_000)) == 1


def test_deep_nesting_does_not_overflow() -> None:
    text = "(1+" * 5_000 + "1" + ")" * 5_000
    assert segment(text)[-1].end == len(text)
