"""Graders and answer formats of one's own: how they are called, and what is refused by name."""

import asyncio
import functools
import sys

import numpy as np
import pytest

from chrpo import grade
from chrpo.answer_format import answer_check, default_grader, grade_tagged
from chrpo.errors import ChrpoError, DataError
from chrpo.grading import grade_answers
from chrpo.named_function import named_function

TEXTS, ANSWERS = ["It is 7.", "It is 8."], ["7", "7"]


def says(completion, answer):
    return answer in completion


async def says_later(completion, answer):
    await asyncio.sleep(0)
    return answer in completion


def says_all(completions, answers):
    return [answer in completion for completion, answer in zip(completions, answers, strict=True)]


async def says_all_later(completions, answers):
    return np.array(says_all(completions, answers))


says_all.batched = says_all_later.batched = True


def declared(grader, **attributes):
    for name, value in attributes.items():
        setattr(grader, name, value)
    return grader


class Says:
    async def __call__(self, completion, answer):
        return answer in completion


# --- how graders are called -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grader",
    [says, says_later, says_all, says_all_later, Says(), functools.partial(says_later)],
    ids=["plain", "async", "batched", "batched and async", "object", "partial"],
)
def test_graders_of_every_kind_give_the_same_verdicts(grader):
    assert grade_answers(grader, TEXTS, ANSWERS) == [True, False]
    assert grade_answers(grader, [], []) == []


def test_async_grading_works_where_a_loop_runs_already():
    async def notebook():
        return grade_answers(says_later, TEXTS, ANSWERS)

    assert asyncio.run(notebook()) == [True, False]


def test_async_calls_of_a_step_run_at_the_same_time():
    started = []

    async def together(completion, answer):
        started.append(completion)
        while len(started) < len(TEXTS):
            await asyncio.sleep(0)
        return True

    assert grade_answers(together, TEXTS, ANSWERS) == [True, True]


def test_partial_credit_is_right_from_the_declared_limit():
    credit = declared(lambda completion, answer: float(completion), correct_from=0.75)
    assert grade_answers(credit, ["0", ".74", ".75", "1"], [""] * 4) == [False, False, True, True]
    assert grade_answers(declared(lambda completion, answer: True, correct_from=1), ["a"], ["b"]) == [True]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, r"returned 0\.5 for the answer 'It is 7\.' \(reference '7'\); .*set the grader's attribute correct_from"),
        (1, "returned 1 .*return True or False, or declare"),
        (None, "returned None .*return True or False$"),
        ("yes", "returned 'yes' .*return True or False$"),
    ],
)
def test_a_value_that_is_no_bool_is_refused_by_name(value, message):
    def mine(completion, answer):
        return value

    with pytest.raises(ChrpoError, match=rf"grader .*test_grading.*mine {message}"):
        grade_answers(mine, TEXTS, ANSWERS)


def test_a_coroutine_of_a_plain_function_is_refused_with_the_remedy():
    with pytest.raises(ChrpoError, match=r"returned <coroutine .*; define the grader with async def"):
        grade_answers(lambda completion, answer: says_later(completion, answer), TEXTS, ANSWERS)


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), None, "1"])
def test_partial_credit_outside_0_to_1_is_refused(value):
    mine = declared(lambda completion, answer: value, correct_from=0.5)
    with pytest.raises(ChrpoError, match=r"return a credit in \[0, 1\]"):
        grade_answers(mine, TEXTS, ANSWERS)


@pytest.mark.parametrize(("value", "shown"), [([True], "1 results"), (True, "True"), (None, "None")])
def test_a_batched_grader_returns_a_list_with_one_verdict_for_each(value, shown):
    mine = declared(lambda completions, answers: value, batched=True)
    with pytest.raises(ChrpoError, match=f"returned {shown} for 2 completions; return a list with one for each"):
        grade_answers(mine, TEXTS, ANSWERS)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_error_of_a_grader_names_it(kind):
    def fails(completion, answer):
        raise ValueError("no such test")

    async def fails_later(completion, answer):
        raise ValueError("no such test")

    with pytest.raises(ChrpoError, match=r"grader .*fails.* failed: ValueError: no such test"):
        grade_answers(fails if kind == "plain" else fails_later, TEXTS, ANSWERS)


@pytest.mark.parametrize("limit", [0, 1.1, -1])
def test_a_limit_outside_0_to_1_is_refused(limit):
    mine = declared(lambda completion, answer: 1.0, correct_from=limit)
    with pytest.raises(DataError, match=r"correct_from must be in \(0, 1\]"):
        grade_answers(mine, TEXTS, ANSWERS)


# --- forms of answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "fits"),
    [
        ("boxed", r"So \boxed{7}.", True),
        ("boxed", r"\boxed{7}, I said \boxed{ 7 }", True),
        ("boxed", r"\boxed{7} or \boxed{8}", False),
        ("boxed", "7", False),
        ("answer-tag", "<answer>B</answer>", True),
        ("answer-tag", "<answer>B</answer> <answer>\nB\n</answer>", True),
        ("answer-tag", "<answer>B</answer> <answer>C</answer>", False),
        ("answer-tag", "<answer>B", False),
        ("answer-tag", "<answer>B</answer><answer>", True),
        ("answer-tag", "<answer>" * 200_000, False),
        ("answer-tag", r"\boxed{B}", False),
        ("any", "def f(): return 7", True),
        ("any", " \n", False),
        (lambda text: text in ("A", "B"), "B", True),
        (lambda text: text in ("A", "B"), "C", False),
    ],
)
def test_a_form_decides_on_the_text_after_the_thinking(name, text, fits):
    assert answer_check(name)(text) is fits


def test_a_form_of_ones_own_returns_a_bool():
    def mine(text):
        return len(text)

    with pytest.raises(ChrpoError, match=r"format .*mine returned 3 for 'abc'; return True or False"):
        answer_check(mine)("abc")


def test_an_unknown_form_is_refused_with_the_known_ones():
    with pytest.raises(DataError, match="format 'box' is unknown; name one of boxed, answer-tag, any, or a function"):
        answer_check("box")


def test_only_forms_that_show_where_the_answer_is_have_a_grader():
    assert default_grader("boxed") is grade
    assert default_grader("answer-tag") is grade_tagged
    for form in ("any", says):
        with pytest.raises(DataError, match=r"does not tell where the answer is; give a grader, too \(--grader"):
            default_grader(form)


@pytest.mark.parametrize(
    ("completion", "answer", "correct"),
    [
        ("<think>x</think><answer>B</answer>", "B", True),
        ("<think>x</think><answer>1/2</answer>", "0.5", True),
        ("<think>x</think><answer>A</answer> no, <answer> B </answer>", "B", True),
        ("<think><answer>B</answer></think>It is A.", "B", False),
        ("<think><answer>B</answer>", "B", False),
    ],
)
def test_a_tagged_answer_is_compared_by_value(completion, answer, correct):
    assert grade_tagged(completion, answer) is correct


# --- functions from the command line ----------------------------------------------------------------------------------


def test_a_function_is_found_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "choices_of_mine.py").write_text("def right(completion, answer):\n    return True\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [])
    assert named_function("--grader", "choices_of_mine:right")("a", "b") is True


def test_the_current_folder_is_not_searched_with_a_function_of_an_installed_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert named_function("--grader", "operator:eq")("7", "7") is True
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("right", "write MODULE:FUNCTION, such as my_grader:grade"),
        (":right", "write MODULE:FUNCTION"),
        ("chrpo:", "write MODULE:FUNCTION"),
        ("no_such_module:right", r"module no_such_module cannot be imported \(ModuleNotFoundError: .*no_such_module"),
        ("chrpo:no_such_function", "module chrpo has no function no_such_function"),
        ("chrpo:__version__", "module chrpo has no function __version__"),
    ],
)
def test_a_function_that_cannot_be_had_is_named_with_its_flag(text, message):
    with pytest.raises(DataError, match=f"--grader '{text}': {message}"):
        named_function("--grader", text)
