"""Tasks of letters: GPQA-Diamond, MMLU-Pro and ZebraLogic, with rows in the layout of the published datasets."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from math_eval import Grader, load_task
from math_eval.errors import DataError
from math_eval.tasks import letters

_GPQA = {
    "Record ID": "rec1",
    "Question": "Which is a base? ",
    "Correct Answer": "NaOH\n",
    "Incorrect Answer 1": "HCl",
    "Incorrect Answer 2": "CH4",
    "Incorrect Answer 3": "N2",
    "High-level domain": "Chemistry",
    "Subdomain": "Chemistry (general)",
}
_MMLU = {
    "question_id": 70,
    "question": "2 + 2 = ?",
    "options": ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
    "answer": "D",
    "answer_index": 3,
    "cot_content": "",
    "category": "math",
    "src": "ori_mmlu",
}
_ZEBRA = {
    "id": "lgp-test-2x2-33#mc-1",
    "puzzle": "There are 2 houses.",
    "question": "Who owns the cat?",
    "choices": ["Eric", "Arnold", "Peter"],
    "answer": "Arnold",
    "created_at": "2024-07-11",
}


def _write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _options(problem):
    return dict(re.findall(r"^([A-Z])\. (.*)$", problem["question"], re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "row", "right", "count"),
    [("gpqa_diamond", _GPQA, "NaOH", 4), ("mmlu_pro", _MMLU, "4", 10), ("zebralogic", _ZEBRA, "Arnold", 3)],
)
def test_the_answer_is_the_letter_of_the_correct_option(name, row, right, count, tmp_path):
    _write(tmp_path / f"{name}.jsonl", row)
    task = load_task(name, data_dir=tmp_path)
    (problem,) = task.problems
    assert task.source == {"file": f"{name}.jsonl", "option_seed": 0}
    options = _options(problem)
    assert (options[problem["answer"]], len(options), problem["shuffled"]) == (right, count, True)


def test_orders_depend_on_the_problem_and_put_the_answer_everywhere(tmp_path):
    _write(tmp_path / "gpqa_diamond.jsonl", *({**_GPQA, "Record ID": f"rec{number}"} for number in range(400)))
    problems = load_task("gpqa_diamond", data_dir=tmp_path).problems
    assert problems == load_task("gpqa_diamond", data_dir=tmp_path).problems
    shares = [sum(problem["answer"] == letter for problem in problems) / 400 for letter in "ABCD"]
    assert min(shares) > 0.18  # 0.25 expected, three standard errors are 0.065
    assert len({problem["question"] for problem in problems}) == 24, "every order of four options occurs"


@given(st.lists(st.text("abc ", min_size=1), min_size=1, max_size=10), st.data())
def test_a_shuffle_keeps_all_options_and_the_answer(options, data):
    right = data.draw(st.integers(0, len(options) - 1))
    row = {**_MMLU, "options": options, "answer": "ABCDEFGHIJ"[right], "answer_index": right}
    problem = letters.mmlu_pro(row, 0)
    found = _options(problem)
    assert sorted(found.values()) == sorted(option.strip() for option in options)
    assert found[problem["answer"]] == options[right].strip()


@pytest.mark.parametrize(
    "option", ["Both A and B", "None of the above", "A and C", "Neither (A) nor (B)", "All of above"]
)
def test_options_that_speak_of_others_keep_the_published_order(option):
    row = {**_MMLU, "options": ["1", "2", "3", option]}
    problem = letters.mmlu_pro(row, 0)
    assert (list(_options(problem).values()), problem["answer"]) == (row["options"], "D")
    assert problem["shuffled"] is False


@pytest.mark.parametrize("option", ["temperatures above 300 K", "an ADP and ATP pump", "Vitamin A", "a and b"])
def test_other_options_are_shuffled(option):
    assert letters.mmlu_pro({**_MMLU, "options": ["1", "2", "3", option]}, 0)["shuffled"] is True


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("mmlu_pro", {**_MMLU, "answer": "A"}, "answer 'A' is not the letter of answer_index 3"),
        ("mmlu_pro", {**_MMLU, "answer": "K", "answer_index": 10}, r"mmlu_pro\.jsonl:1: not a row of mmlu_pro"),
        ("zebralogic", {**_ZEBRA, "answer": "___"}, r"zebralogic\.jsonl:1: not a row of zebralogic"),
        ("gpqa_diamond", {"question": "Q"}, "its fields are question"),
    ],
)
def test_a_row_of_another_layout_is_refused(name, row, message, tmp_path):
    _write(tmp_path / f"{name}.jsonl", row)
    with pytest.raises(DataError, match=message):
        load_task(name, data_dir=tmp_path)


@pytest.mark.parametrize("letter", list("ABCDEFGHIJ"))
def test_letters_are_found_and_graded_however_they_are_written(letter):
    other = "A" if letter == "J" else chr(ord(letter) + 1)
    forms = (
        r"\boxed{%s}",
        r"\boxed{\text{%s}}",
        r"\boxed{\textbf{(%s)}}",
        r"\boxed{%s. 42 m/s}",
        "The answer is (%s).",
        "The correct answer is **%s. Foo bar**",
        "Answer: %s",
    )
    with Grader() as grader:
        for form in forms:
            assert grader.grade(form % letter, letter).verdict == "correct", form
            assert grader.grade(form % other, letter).verdict == "incorrect", form
        assert grader.grade(r"\boxed{42}", letter).verdict == "incorrect", "the letter counts, not the option's text"
