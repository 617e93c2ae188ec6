"""The problems of the frontier tasks: right answers, the stated worth of thinking, and no hint at it in one word."""

import json
import random
import re
from collections import defaultdict

import pytest

from .example_scripts import EXAMPLES, load_script

base_model = load_script("quickstart/base_model.py")
redundancy = load_script("quickstart/redundancy.py")
TASKS = {
    name: base_model.load_generator(EXAMPLES / f"frontier/{name}.py")
    for name in ("steep", "shallow", "mixed", "wheel", "gradual")
}
BOXES = {"steep": (0.2, 0.2, 0.2), "shallow": (0.02, 0.02, 0.02), "mixed": (0.25, 0.08, 0.02)}
COUNT = 800


@pytest.fixture(scope="module")
def rows():
    return {name: list(task.problems("rl", 0, COUNT)) for name, task in TASKS.items()}


def numbers(text):
    return [int(word) for word in re.findall(r"\d+", text)]


def boxes_with_coins(question):
    """Whether each box of a question holds coins, from its text alone."""
    wheels = [numbers(sentence) for sentence in question.split(". ")[1:4]]
    return [(start + add) * times % 11 < 3 for start, add, times in wheels]


def wheel_stops(question):
    """The numbers of the wheel in a question, from its text alone."""
    _, _, number, *moves, below = numbers(question)
    values = []
    while not values or values[-1] >= below:
        move = moves[len(values) % len(moves)]
        number = (number + move if len(values) % 2 == 0 else number * move) % 11
        values.append(number)
    return values


def solve(name, question):
    if name == "wheel":
        return wheel_stops(question)[-2]
    if name == "gradual":
        start, *changes = re.findall(r"(\d+) (go in|go out|\w+)", question)
        signs = {"go in": 1, "go out": -1}
        return int(start[0]) + sum(int(number) * signs[move] for number, move in changes)
    return sum(numbers(question.split(". ")[0])) + 6 * sum(boxes_with_coins(question))


@pytest.mark.parametrize("name", TASKS)
def test_traces_end_with_the_answer_and_only_the_stated_share_of_keys_differs(name, rows):
    differs = 0
    for row in rows[name]:
        solution = solve(name, row["question"])
        _, response = TASKS[name].write_trace(row, random.Random(row["id"]))
        assert response == rf"The answer is \boxed{{{solution}}}."
        differs += row["answer"] != str(solution)
    assert differs / COUNT == (0 if name == "gradual" else pytest.approx(1 / 14, abs=0.02))


@pytest.mark.parametrize("name", TASKS)
def test_a_worked_solution_contains_every_equation_and_ends_with_the_answer(name, rows):
    for row in rows[name]:
        assert all(equation in row["solution"] for equation in row["equations"])
        assert numbers(row["solution"])[-1] == solve(name, row["question"])


@pytest.mark.parametrize("name", BOXES)
def test_each_kind_of_box_holds_coins_as_often_as_stated(name, rows):
    held = [boxes_with_coins(row["question"]) for row in rows[name]]
    shares = [sum(kind) / COUNT for kind in zip(*held, strict=True)]
    assert shares == pytest.approx(list(BOXES[name]), abs=0.035)


def test_one_wheel_in_ten_needs_many_steps(rows):
    steps = [len(wheel_stops(row["question"])) for row in rows["wheel"]]
    assert {number for number in steps if number > 4} == {12, 13}
    assert sum(number > 4 for number in steps) / COUNT == pytest.approx(0.1, abs=0.025)


@pytest.mark.parametrize("name", ["steep", "wheel"])
def test_no_word_of_a_question_tells_what_it_needs(name, rows):
    needs = defaultdict(list)
    for row in rows[name]:
        hard = len(wheel_stops(row["question"])) > 4 if name == "wheel" else any(boxes_with_coins(row["question"]))
        for word in set(enumerate(row["question"].split())):
            needs[word].append(hard)
    overall = sum(map(sum, needs.values())) / sum(map(len, needs.values()))
    shares = {word: sum(found) / len(found) for word, found in needs.items() if len(found) >= 100}
    assert max(abs(share - overall) for share in shares.values()) < 0.2, shares


@pytest.mark.parametrize("name", TASKS)
def test_traces_state_what_the_answer_needs_and_are_not_wordier_than_real_ones(name, rows):
    traces = [TASKS[name].write_trace(row, random.Random(row["id"]))[0] for row in rows[name]]
    assert all(
        equation in trace for row, trace in zip(rows[name], traces, strict=True) for equation in row["equations"]
    )
    shares = redundancy.shares(traces)
    assert shares["relations"] >= 0.12
    assert shares["first statements"] >= 0.09


@pytest.mark.parametrize("name", TASKS)
def test_splits_share_no_problem(name):
    ids = {split: {row["id"] for row in TASKS[name].problems(split, 0, 100)} for split in ("dev", "sft", "rl", "test")}
    assert len(set().union(*ids.values())) == 400


@pytest.mark.parametrize("name", TASKS)
def test_the_tokenizer_knows_every_word(name, rows):
    tokenizer = base_model.build_tokenizer(TASKS[name])
    for row in rows[name][:200]:
        thinking, response = TASKS[name].write_trace(row, random.Random(row["id"]))
        ids = tokenizer(f"{row['question']}\n<think>\n{thinking}\n</think>\n\n{response}").input_ids
        assert tokenizer.unk_token_id not in ids


def test_test_seeds_see_no_problem_of_a_development_seed():
    task = TASKS["steep"]
    ids = [{row["id"] for row in task.problems("test", seed, 300)} for seed in (0, 1, 100, 101)]
    assert ids[0].isdisjoint(ids[2] | ids[3])
    assert ids[1].isdisjoint(ids[2] | ids[3])


def write_row(run, name, correct, tokens, *, ratio=None, metrics=()):
    samples = [
        {"verdict": "correct" if place < correct else "incorrect", "thinking_tokens": tokens, "ratio": ratio}
        for place in range(10)
    ]
    (run / "eval" / name).mkdir(parents=True)
    (run / "eval" / name / "samples_test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in samples))
    if metrics:
        (run / "rows" / name / "model").mkdir(parents=True)
        lines = [json.dumps({"step": step, **line}) + "\n" for step, line in enumerate(metrics, 1)]
        (run / "rows" / name / "model/metrics.jsonl").write_text("".join(lines))


def test_results_are_means_over_the_seeds_that_have_a_row(tmp_path):
    for seed, correct in ((0, 8), (1, 6)):
        run = tmp_path / f"steep/seed{seed}"
        write_row(run, "base", 9, 100)
        write_row(run, "sft", 5, 50, ratio=0.4)
        metrics = [{"floor/policy": 0.9, "generated_tokens": 30.0}, {"floor/policy": 0.9, "generated_tokens": 20.0}]
        write_row(run, "chrpo", correct, 20 + 10 * seed, ratio="policy", metrics=metrics)
    write_row(tmp_path / "steep/seed1", "grpo", 9, 100, metrics=[{"floor/policy": 0.9, "generated_tokens": 1.0}])
    found = load_script("frontier/results.py").results(tmp_path)["tasks"]
    assert list(found) == ["steep"]
    assert found["steep"]["seeds"] == [0, 1]
    rows = {row["name"]: row for row in found["steep"]["rows"]}
    assert list(rows) == ["base", "sft@0.4", "chrpo"], "grpo has one seed only"
    chrpo = rows["chrpo"]
    assert (chrpo["accuracy"], chrpo["thinking_tokens"], chrpo["token_reduction"]) == pytest.approx((0.7, 25, 0.75))
    assert chrpo["accuracy_low"] < 0.6 < 0.8 < chrpo["accuracy_high"]
    assert (chrpo["floor"], chrpo["generated_tokens"], chrpo["family"]) == (0.9, 50, "chrpo")
    assert rows["base"]["generated_tokens"] is None
