r"""Equality by kind: pairs of answers that are equal, and pairs of which one says something else.

`answers.jsonl` has rows {equal, answer, gold}; an answer is graded inside `\boxed{}`.
"""

import json
from pathlib import Path

import pytest

from math_eval import Grader
from math_eval.equality import POLICIES, compare
from math_eval.errors import DataError
from math_eval.grading.decide import decide
from math_eval.reading import read

ANSWERS = [json.loads(line) for line in Path(__file__).with_name("answers.jsonl").read_text("utf-8").splitlines()]
JUDGED = [  # answer, gold, whether the policies strict, default and lenient count it as equal
    ("5 cm", "5", (False, True, True)),
    ("3 h 15 min", "3.25 h", (True, True, True)),
    ("90 minutes", "1.5 hours", (False, True, True)),
    (r"50\%", "0.5", (True, True, True)),
    (r"50\%", "50", (False, True, True)),
    ("2, 1", "1, 2", (False, True, True)),
    (r"\sqrt{1/m}", r"\frac{1}{\sqrt m}", (True, True, True)),
    (r"\ln x^2", r"2 \ln x", (False, True, True)),
    ("1.414214", r"\sqrt2", (False, True, True)),
    ("1.41", r"\sqrt2", (False, False, True)),
    ("66.67", r"66\frac23", (False, False, True)),
    ("0.33", r"\frac13", (False, False, False)),
    ("3x=12", "x=4", (False, True, True)),
    ("x<8", r"(-\infty, 8)", (False, True, True)),
    ("1<x<2", "(1,2)", (False, False, True)),
    (r"\begin{pmatrix} 4 \\ 7 \end{pmatrix}", "(4,7)", (False, True, True)),
    (r"\text{undefined}", r"\text{DNE}", (False, True, True)),
    ("f(x)=kx", "f(x)=cx", (False, False, True)),
    ("1101_2", "13", (False, False, True)),
    ("K", "k", (False, False, True)),
]


@pytest.fixture(scope="module")
def grader():
    with Grader(1) as shared:
        yield shared


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: f"{row['answer']} ~ {row['gold']}"[:60])
def test_pairs_of_answers(row, grader):
    verdict = grader.grade(rf"\boxed{{{row['answer']}}}", row["gold"])
    assert (verdict.verdict == "correct") is row["equal"], verdict.detail
    assert verdict.detail


@pytest.mark.parametrize(("answer", "gold", "equal"), JUDGED)
def test_a_policy_decides_what_people_judge_differently(answer, gold, equal):
    found = tuple(decide(answer, gold, policy).equal is True for policy in POLICIES.values())
    assert found == equal


def test_a_grader_takes_a_policy_by_name_and_records_it():
    with Grader(1, policy="strict") as strict:
        assert strict.grade(r"\boxed{5 cm}", "5").verdict == "incorrect"
        assert strict.description["policy"] == "strict"
    with pytest.raises(DataError, match="strict, default, lenient; got 'kind'"):
        Grader(policy="kind")


def test_the_detail_says_how_both_sides_were_read_and_why():
    assert decide("6 feet 2 inches", "6 feet 8 inches").why.startswith("read as 37/6 ft and 20/3 ft: ")
    assert decide(r"\gg", "5").why == r"the answer \gg is unread: nothing is known of '\\gg' there"
    assert decide("5", r"\gg 2").gold_read is False


def test_numbers_that_agree_in_many_digits_are_still_different():
    close = r"\frac{314159265358979323846264338327950288}{100000000000000000000000000000000000}"
    assert compare(read(close).tree, read(r"\pi").tree).equal is False
    assert compare(read(r"e^{\pi\sqrt{163}}").tree, read("262537412640768744").tree).equal is False


def test_a_comma_between_thousands_and_one_between_members_are_both_tried():
    assert decide("1,234", "1234").equal is True
    assert decide("(1,500, 2,500)", "(1500,2500)").equal is True
    assert decide("(3,100)", "(3, 100)").equal is True
    assert decide("(7,250)", "7250").equal is False
