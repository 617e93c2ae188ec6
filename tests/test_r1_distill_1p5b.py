"""The recipe of examples/r1_distill_1p5b: its commands exist, tests are left out, costs and the table by hand."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from .example_scripts import check_stages, scripts_of

OWN = ("scales", "questions", "compare_with_published", "gpu_hours", "r1_distill_1p5b")
BORROWED = ("stages", "settings", "inputs", "cost", "compare_with_paper")


@pytest.fixture(scope="module")
def recipe() -> Iterator[SimpleNamespace]:
    """The example's scripts as modules, which import each other as they do when run."""
    with scripts_of("r1_distill_1p5b", (*OWN, *BORROWED)):
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in OWN})


@pytest.mark.parametrize(("scale", "gpus"), [("FULL", 8), ("DRY_RUN", 2)])
def test_every_stage_is_a_command_that_takes_its_arguments(recipe, scale, gpus):
    made = recipe.r1_distill_1p5b.recipe(Path("run"), getattr(recipe.scales, scale), gpus)
    check_stages(made)


def test_a_question_is_used_once_and_never_if_it_is_in_a_test_or_has_no_answer(recipe):
    rows = [
        {"problem": text, "answer": answer, "solution": ""}
        for text, answer in (("How many?", "3"), ("how  MANY?", "3"), ("In a test?", "4"), ("What?", ""), ("Who?", 7))
    ]
    found = list(recipe.questions.problems(rows, ["IN a test?"]))
    assert sorted((row["question"], row["answer"]) for row in found) == [("How many?", "3"), ("Who?", "7")]


def test_the_parameters_by_hand(recipe):
    # A layer: queries and output 2 * 1536 * 1536, keys and values 2 * 1536 * 256, feed-forward 3 * 1536 * 8960, norms.
    layer = 2 * 1536 * 1536 + 2 * 1536 * 256 + 3 * 1536 * 8960 + 2 * 1536 + 2 * 128
    assert recipe.gpu_hours.MODEL.parameters == 28 * layer + 1536 + 2 * 151_936 * 1536


def test_the_table_of_published_figures_by_hand(recipe, tmp_path):
    for model, accuracy, tokens in (("base", 0.84, 5000), ("short", 0.86, 2500)):
        folder = tmp_path / f"eval/benchmarks-{model}"
        folder.mkdir(parents=True)
        condition = {"task": "math500", "ratio": None, "accuracy": accuracy, "completion_tokens": tokens}
        (folder / "results.json").write_text(json.dumps({"conditions": [condition]}))
    text = recipe.compare_with_published.table(tmp_path)
    assert "| math500 | **chrpo** | 84.0 | 86.0 | +2.0 | 5000 | 2500 | 50 |" in text
    assert "| math500 | SIRI-low (arXiv 2509.25176) | 82.4 | 87.7 | +5.3 | 4745 | 2881 | 39 |" in text
    # 1.96 sqrt(.8431 x .1569 / 500) = 3.19 points, and 5000 / 5500 is less than 15 % away.
    assert "- math500: our base 84.0 / 5000, theirs 84.3 ± 3.2 / 5500: agrees" in text
    assert "aime24" not in text


def test_a_base_model_that_differs_is_not_compared(recipe):
    assert recipe.compare_with_published.agreement("math500", (79.0, 4000)).endswith(
        "differs in accuracy and tokens; do not compare this task"
    )
