"""Problems of reasoning-gym, against the package's own scorers."""

from decimal import Decimal

import pytest

from math_eval.errors import DataError
from math_eval.grading.decide import decide
from math_eval.tasks import load_task
from math_eval.tasks.procedural import GENERATORS

gym = pytest.importorskip("reasoning_gym", reason="needs cot-math-eval[reasoning-gym]")


def test_size_and_seed_decide_the_problems():
    name = "reasoning-gym:gsm_symbolic?size=20&seed={}"
    first, again, other = (load_task(name.format(seed)) for seed in (1, 1, 2))
    assert first.problems == again.problems
    assert first.sha256 != other.sha256
    assert first.name == "reasoning-gym-gsm_symbolic-size-20-seed-1"
    settings = {"generator": "gsm_symbolic", "size": 20, "seed": 1}
    assert first.source == {"package": "reasoning-gym", "version": first.source["version"], **settings}


def test_settings_of_the_generator_are_passed_on():
    problems = load_task("reasoning-gym:chain_sum?size=5&min_terms=2&max_terms=2").problems
    assert all(problem["question"].count(" + ") + problem["question"].count(" - ") == 1 for problem in problems)


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_grader_and_the_scorer_of_the_package_agree_on_plain_numbers_and_names(generator):
    problems = load_task(f"reasoning-gym:{generator}?size=40&seed=5").problems
    dataset = gym.create_dataset(generator, size=40, seed=5)
    for index, problem in enumerate(problems):
        gold = problem["answer"]
        if generator == "zebra_puzzles":
            near = [gold.title(), *{problem["answer"] for problem in problems}]
        else:
            near = [str(Decimal(gold) + 1), str(Decimal(gold) + Decimal("0.001"))]
        for answer in (gold, problems[index - 1]["answer"], *near):
            assert decide(answer, gold).equal is (dataset.score_answer(answer, dataset[index]) == 1.0), (answer, gold)


@pytest.mark.parametrize(
    ("setting", "message"),
    [("nonsense=1", "unexpected keyword"), ("size=-1", "settings are those of"), ("x=", "x must be")],
)
def test_a_bad_setting_is_named(setting, message):
    with pytest.raises(DataError, match=message):
        load_task(f"reasoning-gym:gcd?{setting}")
