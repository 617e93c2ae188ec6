import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from math_eval import Grader
from math_eval.grading.statements import first_correct


def _stated(text, gold):
    """The part of the text up to the first statement, or None."""
    with Grader() as grader:
        place = grader.first_correct(text, gold)
    return None if place is None else text[:place]


@pytest.mark.parametrize(
    ("text", "gold", "end"),
    [
        ("She has 6 * 7 = 42 apples. Let me check: 7 * 6 = 42.", "42", "42 apples."),
        ("So the answer is 0.5? No. It is 1/3, so 1/3.", r"\frac{1}{2}", "0.5?"),
        ("Then x = 40.\n\nWait, so x = 42", "42", "so x = 42"),
        (r"Then it is \boxed{12}. Hmm, \boxed{12}.", "12", r"it is \boxed{12}."),
        ("So the probability is 3/216, I think. That is 1/72.", r"\frac1{72}", "I think."),
        ("\\[\nx = \\frac{11}{72}\n\\]\nYes.", r"\dfrac{11}{72}", r"x = \frac{11}{72}"),
        ("所以总共有 12 个。再检查一下。", "12", "12 个。"),
        ("Thus y = 2x + 3. Check: 5 = 2 + 3.", "y = 2x + 3", "Thus y = 2x + 3."),
        ("So x = 1 or x = 2. Done.", "1, 2", "x = 2."),
    ],
)
def test_the_first_statement_of_the_answer_by_hand(text, gold, end):
    found = _stated(text, gold)
    assert found is not None
    assert found.endswith(end)
    assert found == text[: text.index(end) + len(end)]


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("", "42"),
        ("She has 42 apples and 7 bags.", "42"),  # the question again, no conclusion
        ("So we need 6 * 7.", "42"),  # still to be computed
        ("So that is C(9, 4) = 9! / (5! 4!).", "126"),
        ("Hmm, so 9! divided by 8!", "9"),
        ("So it is not 42.", "42"),
        ("So it is 41.", "42"),
        ("So x = 1.", "1, 2"),
        ("So the answer is 42.", "see the figure in the book"),
    ],
)
def test_what_states_no_correct_answer(text, gold):
    assert _stated(text, gold) is None


_FILLER = ["Let me think.", "Wait, maybe not.", "The bag has 3 apples.", "So x = 7.", "Hmm\n"]


@given(st.lists(st.sampled_from(_FILLER)), st.lists(st.sampled_from([*_FILLER, "So x = 42."])))
def test_the_place_is_the_end_of_the_statement_whatever_surrounds_it(before, after):
    head = " ".join([*before, "So x = 42."])
    assert first_correct(" ".join([head, *after]), "42") == len(head)


@given(st.text("x =4219.!?\n soSo\\{}boxed/", max_size=200))
def test_a_text_cut_at_its_first_statement_states_it_there(text):
    place = first_correct(text, "42")
    if place is not None:
        assert first_correct(text[:place], "42") == place <= len(text)


@pytest.mark.parametrize(
    "piece", ["so 9^9^9^9 = ", "so {", "= 10!!!!! \n", "So x = \\frac{", "= 1\n", "so \\sqrt{\\sqrt{", "7 "]
)
def test_hostile_thinking_has_no_statement_and_ends(piece):
    assert first_correct(piece * (300_000 // len(piece)), "42") is None


def test_after_two_thousand_different_statements_the_search_ends():
    many = "".join(f"So x = {number}.\n" for number in range(100, 2500))
    assert first_correct(many + "So x = 42.", "42") is None
    assert first_correct(many[:3000] + "\nSo x = 42.", "42") is not None


_TRACES = Path(os.environ.get("DATA", "data"), "traces_math_train.jsonl.gz")


@pytest.mark.skipif(not _TRACES.is_file(), reason="needs traces_math_train.jsonl.gz in the folder that DATA names")
def test_real_thinking_with_a_correct_answer_states_it_before_its_end():
    with gzip.open(_TRACES, "rt", encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row["answer"]]
    with Grader() as grader:
        places = [grader.first_correct(row["cot"], row["answer"]) for row in rows]
    shares = [place / len(row["cot"]) for place, row in zip(places, rows, strict=True) if place is not None]
    assert len(shares) > 0.95 * len(rows)
    assert 0.3 < sum(shares) / len(shares) < 0.7
