"""The problems of the pretrained run: worked solutions are right, and no question is in two splits."""

import json
import re

import pytest

from .example_scripts import load_script

problems = load_script("smollm2/problems.py")
MISSING = "reasoning-gym is not installed; `make test-gym` has an environment"


def test_a_worked_solution_has_every_step_of_the_sum():
    assert problems.steps("chain_sum", {"metadata": {"expression": "5 - 9 + 3"}}) == ["5 - 9 = -4.", "-4 + 3 = -1."]
    assert problems.steps("chain_sum", {"metadata": {"expression": "0 + 7 - 1"}}) == ["0 + 7 = 7.", "7 - 1 = 6."]


def test_the_legs_of_a_problem_are_added_one_animal_after_the_other():
    pytest.importorskip("reasoning_gym", reason=MISSING)
    animals = {"animals": {"spider": 2, "cow": 3, "duck": 1}}
    assert problems.steps("leg_counting", {"metadata": animals}) == [
        "2 spider: 2 * 8 = 16.", "3 cow: 3 * 4 = 12.", "16 + 12 = 28.", "1 duck: 1 * 2 = 2.", "28 + 2 = 30.",
    ]  # fmt: skip


def test_no_question_is_in_two_splits_and_every_equation_holds(tmp_path):
    pytest.importorskip("reasoning_gym", reason=MISSING)
    problems.main([str(tmp_path), "--seed", "3"], standalone_mode=False)
    rows = {path.stem: [json.loads(line) for line in path.open()] for path in tmp_path.glob("*.jsonl")}
    texts = [row["text"] for row in rows.pop("drill")]
    questions = [row["question"] for split in rows.values() for row in split]
    assert len(questions) == len(set(questions)) == 2 * sum(problems.COUNTS[name] for name in rows)
    for row in (row for split in rows.values() for row in split):
        texts.append(row["worked"])
        assert row["worked"].endswith(f" = {row['answer']}.")
        assert len(row["solution"]) >= 150, "`cot-compressor annotate` takes no shorter response"
    for left, sign, right, result in re.findall(r"(-?\d+) ([-+*]) (\d+) = (-?\d+)", "\n".join(texts)):
        found = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}[sign]
        assert found == int(result)
