import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from math_eval import grade
from math_eval.grading import extract_answer
from math_eval.grading.boxes import boxed_answer
from math_eval.grading.final_text import final_text


def test_the_last_box_after_the_thinking_block_counts():
    text = r"<think>maybe \boxed{1}</think> First \boxed{2}, no: \boxed{\frac{1}{2}}."
    assert extract_answer(text) == r"\frac{1}{2}"


def test_an_answer_inside_an_unclosed_thinking_block_does_not_count():
    assert extract_answer(r"<think> so \boxed{7} or 7") is None
    assert extract_answer(r"so \boxed{7} or 7", prompt="<user> q <assistant><think>\n") is None
    assert extract_answer(r"<think>a</think> <think> \boxed{7}") is None


def test_thinking_that_the_prompt_opened_ends_at_its_closing_tag():
    assert extract_answer(r"\boxed{1} </think> \boxed{2}", prompt="q <think>") == "2"


def test_nested_and_escaped_braces_stay_whole():
    assert extract_answer(r"\boxed{\left\{1,\sqrt{2}\right\}}") == r"\left\{1,\sqrt{2}\right\}"
    assert extract_answer(r"\boxed{x = \boxed{5}}") == "5"
    assert extract_answer(r"\beginboxed{8\sqrt{6}}") == r"8\sqrt{6}"


def test_a_box_that_is_cut_off_or_empty_is_no_answer():
    assert extract_answer(r"The sum is 12, so \boxed{1") is None
    assert extract_answer(r"The sum is 12: \boxed{ }") is None


def test_boxes_joined_by_nothing_but_commas_and_words_are_one_list():
    assert extract_answer(r"The roots are \boxed{-2} \quad \text{and} \quad \boxed{1}.") == "-2, 1"
    assert extract_answer(r"\(\boxed{1}\) or \(\boxed{2}\)") == "1, 2"
    assert extract_answer(r"\boxed{4}, \boxed{4}") == "4"
    assert extract_answer(r"First \boxed{1}, then \boxed{2}") == "2"
    assert extract_answer("\\boxed{1}\n\\boxed{2}") == "2"


def test_boxes_of_one_sentence_are_one_list_where_several_answers_are_asked_for():
    text = r"So \(k = \boxed{12}\) and then \(k = \boxed{18}\) work."
    assert extract_answer(text) == "18"
    assert extract_answer(text, parts=2) == "12, 18"
    assert extract_answer(r"First \boxed{1}. Then \boxed{2}", parts=2) == "2"
    assert extract_answer(r"\boxed{1} and \boxed{2} and \boxed{3}", parts=2) == "1, 2, 3"
    assert boxed_answer(r"\boxed{1} and and and or thus but \boxed{2}", parts=8) == ("2", False)


def test_a_final_answer_stated_in_a_formula_after_the_box_counts():
    text = r"So $10,200 + \boxed{255}$. Final Answer: The final answer is $10,455$. I hope it is correct."
    assert extract_answer(text) == "10,455"
    assert extract_answer(r"The final answer is $\boxed{5}$.") == "5"
    assert extract_answer(r"Each pays \boxed{5}. So the final answer is $5 a day, and I hope so.") == "5"


def test_the_only_number_of_an_answer_in_prose_counts():
    assert extract_answer("Final Answer: Jane started growing the sphere 3 hours ago. I hope so.") == "3"
    assert extract_answer("Answer: Route 66") == "Route 66"


def test_decimal_commas_and_escaped_dollars_stay_inside_a_number_or_formula():
    assert extract_answer("Soucis : 2,74 $ a..") == "2,74"
    assert extract_answer(r"Answer $ \frac{1}{2} \$ = \frac{10}{9} $") == r"\frac{1}{2} \$ = \frac{10}{9}"


def test_without_a_box_a_bare_line_or_the_last_formula_or_number_counts():
    assert extract_answer(r"$\{1,2,3\}$") == r"$\{1,2,3\}$"
    assert extract_answer("x = 2") == "x = 2"
    assert extract_answer("Evelyn") == "Evelyn"
    assert extract_answer(r"So the pair is $(7, 6)$ as asked.") == "(7, 6)"
    assert extract_answer("Hence\n\\[\n\\frac{1}{2}\n\\]\nholds") == r"\frac{1}{2}"
    assert extract_answer("The area of $ABC$ is then 120.") == "120"
    assert extract_answer("She has $200 + $255 and ends with $455") == "$455"
    assert extract_answer("Final Answer: The volume of $ABC$ is 120. I hope so.") == "120"


def test_a_complete_box_before_a_cut_one_counts():
    assert extract_answer(r"\boxed{12} and \boxed{1") == "12"


def test_the_fallbacks_in_order():
    assert extract_answer("The answer is not 5. The final answer is 6.") == "6"
    assert extract_answer("The answer is $\\frac{3}{4}$ of it.\n#### 9") == r"\frac{3}{4}"
    assert extract_answer("**Answer:** 12\n") == "12"
    assert extract_answer("4 - 1 = 3\n#### 1,234") == "1,234"
    assert extract_answer("She paid 10-3 and has $18.50.") == "$18.50"
    assert extract_answer("it fell to -4") == "-4"
    assert extract_answer("<answer> 42 </answer>") == "42"
    assert extract_answer("The answer isn't 5, it must be 6.") == "6"
    assert extract_answer("I do not know") is None


def test_twenty_thousand_unclosed_boxes_take_one_pass():
    assert boxed_answer(r"\boxed{" * 20_000) == (None, True)
    assert boxed_answer(r"\boxed{" * 20_000 + "1" + "}" * 20_000) == ("1", False)


@given(st.text(alphabet="ab{}\\", max_size=30), st.text(alphabet="ab1+ ", min_size=1, max_size=10))
def test_a_box_put_last_is_always_found(before, inside):
    assert boxed_answer(before.rstrip("\\") + rf"\boxed{{{inside}}}")[0] == inside


@given(st.text(max_size=200))
def test_any_text_gives_text_or_none(text):
    found = extract_answer(text)
    assert found is None or found.strip()


COMPLETIONS = Path(__file__).with_name("completions.jsonl").read_text("utf-8").splitlines()


@pytest.mark.parametrize("line", COMPLETIONS, ids=lambda line: json.loads(line)["completion"][:50])
def test_completions_as_models_write_them(line):
    row = json.loads(line)
    verdict = grade(row["completion"], row["gold"])
    assert (verdict.verdict == "correct") is row["correct"], (verdict.extracted, verdict.detail)


def test_thinking_in_every_markup_is_left_out():
    assert final_text("<think>a <think>b</think> c</think>d") == "d"
    assert final_text("<think>a <think>b</think> c") is None
    assert final_text("<think>it ends with `</think>`, later</think>d") == "d"
    assert final_text("a</think>b") == "b"
    assert final_text("b <think>c</think> d").split() == ["b", "d"]
    assert final_text("a", prompt="q [THINK]\n") is None
    assert final_text("a[/THINK]b", prompt="q [THINK]\n") == "b"


@pytest.mark.parametrize(
    "piece",
    [
        "<think>",
        "</think>",
        "<answer>",
        "[THINK]",
        "\\boxed ",
        "\\boxed{",
        "answer is ",
        "$",
        "#",
        "**",
        "5 ",
        "5, ",
        "5 and ",
        "5 mod ",
        "a=5, ",
        "5-",
        "$5$ and ",
        "|5",
    ],
)
def test_a_hundred_thousand_marks_give_an_answer_or_none(piece):
    text = piece * 100_000
    found = extract_answer(text)
    assert found is None or all(part in text.replace("*", "") for part in found.split(", "))
