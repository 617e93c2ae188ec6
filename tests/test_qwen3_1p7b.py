"""The recipe of examples/qwen3_1p7b: its commands exist, a question has one use, costs and tolerances by hand."""

import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from .example_scripts import check_stages, scripts_of

NAMES = ("settings", "inputs", "stages", "cost", "compare_with_paper", "on_ray", "fake_answers", "warmup", "qwen3_1p7b")


@pytest.fixture(scope="module")
def recipe() -> Iterator[SimpleNamespace]:
    """The example's scripts as modules, which import each other as they do when run."""
    with scripts_of("qwen3_1p7b", NAMES):
        yield SimpleNamespace(
            **{name: importlib.import_module(name) for name in ("inputs", "cost", "compare_with_paper", "on_ray")},
            driver=importlib.import_module("qwen3_1p7b"),
            settings=importlib.import_module("settings"),
        )


@pytest.mark.parametrize(("scale", "gpus"), [("PAPER", 8), ("PAPER", 4), ("DRY_RUN", 2)])
def test_every_stage_is_a_command_that_takes_its_arguments(recipe, scale, gpus):
    settings = getattr(recipe.settings, scale)
    made = recipe.driver.Recipe(Path("run"), settings, gpus=gpus, sharding="fsdp2", scorer="rules", ray=None).stages()
    check_stages(made)


def test_both_scales_have_the_same_stages_but_for_the_fake_answers(recipe):
    def titles(settings):
        made = recipe.driver.Recipe(Path("run"), settings, gpus=2, sharding="zero3", scorer="rules", ray=None).stages()
        return [title for title, _ in made if not title.startswith("Dry run only")]

    assert titles(recipe.settings.PAPER) == titles(recipe.settings.DRY_RUN)


def test_a_step_of_sft_has_the_papers_64_rows_on_any_number_of_gpus_that_divides_them(recipe):
    paper = recipe.settings.PAPER
    assert {gpus: paper.sft_accumulation(gpus) * paper.sft_batch * gpus for gpus in (1, 4, 8)} == {1: 64, 4: 64, 8: 64}
    with pytest.raises(ValueError, match="64 rows do not divide among 3 GPUs"):
        paper.sft_accumulation(3)


def test_a_question_of_metamath_is_used_once_and_never_if_it_is_in_a_test(recipe):
    def row(query, answer):
        return {"query": query, "response": f"So. The answer is: {answer}", "type": "GSM_AnsAug"}

    rows = [row("How many?", 3), row("how  MANY?", 3), row("In a test?", 4), row("What?", "\\frac{1}{2}")]
    unanswered = {"query": "Why?", "response": "Nobody knows.", "type": "GSM_SV"}
    found = list(recipe.inputs.questions([*rows, unanswered], ["IN a test?"]))
    assert sorted((row["question"], row["answer"]) for row in found) == [("How many?", "3"), ("What?", "\\frac{1}{2}")]
    assert [row["id"] for row in found] == sorted(row["id"] for row in found)


def test_the_cost_of_qwen3_1p7b_by_hand(recipe):
    cost, model = recipe.cost, recipe.cost.Model()
    # A layer: 2048 (2 x 2048 + 2 x 1024) + 256 of attention, 3 x 2048 x 6144 feed-forward, 2 x 2048 norms: 50 336 000.
    assert model.parameters == 28 * 50_336_000 + 2048 + 151_936 * 2048 == 1_720_574_976
    assert model.cache_bytes == 2 * 2 * 28 * 8 * 128 == 114_688
    tiny = cost.Model(layers=1, width=2, feed_forward=3, heads=1, key_value_heads=1, head_width=2, vocabulary=5)
    # 2 (4 + 4) + 4 of attention, 18 feed-forward, 4 norms, 2 last norm, 10 embedding: 54.
    assert tiny.parameters == 54
    # 16 x 54 / 2, then 10 tokens: 2 x 10 x 2 inputs, 2 x 10 (18 + 16) inner, 20 gathered.
    assert cost.training_bytes(tiny, tokens=10, gpus=2) == 432 + 40 + 680 + 20
    assert cost.decoding_bytes(tiny, requests=3, length=10) == 108 + 3 * 10 * 8
    gpu = cost.Gpu(flops=100.0, bandwidth=50.0, training_share=0.5, decoding_share=0.5)
    assert cost.training_hours(tiny, gpu, tokens=3600) == pytest.approx(8 * 54 / 50)
    # A step reads 108 + 3 x 5 x 8 = 228 bytes at 25 a second and writes 3 tokens.
    assert cost.decoding_hours(tiny, gpu, tokens=3600, requests=3, length=10) == pytest.approx(228 / 25 / 3)


def test_500_problems_tell_accuracies_apart_by_4_points(recipe):
    assert recipe.compare_with_paper.tolerance(64.2, 500) == pytest.approx(4.2, abs=0.05)
    assert recipe.compare_with_paper.tolerance(50, 40) == pytest.approx(15.5, abs=0.05)


@pytest.mark.parametrize(
    ("base", "chrpo", "verdicts"),
    [
        ({}, {}, ("agrees", "reached")),
        ({"accuracy": 0.72}, {}, ("**differs**: accuracy", "reached")),
        ({"thinking_tokens": 1000}, {}, ("**differs**: tokens", "**missed**: tokens")),
        ({}, {"accuracy": 0.72, "thinking_tokens": 452 * 6}, ("agrees", "**missed**: tokens")),
        ({}, {"accuracy": 0.5}, ("agrees", "**missed**: accuracy")),
    ],
)
def test_the_verdict_is_on_accuracy_and_on_tokens(recipe, tmp_path, base, chrpo, verdicts):
    for name in ("base", "sft", "chrpo"):
        rows = [
            {"task": task, "ratio": ratio, "thinking_tokens": tokens, "accuracy": accuracy / 100}
            for (row, ratio), cells in recipe.compare_with_paper.PUBLISHED.items()
            if row == name
            for task, tokens, accuracy in cells
        ]
        changes = {"base": base, "chrpo": chrpo}.get(name, {})
        rows = [{**row, **(changes if row["task"] == "math500" else {})} for row in rows]
        (tmp_path / "eval" / name).mkdir(parents=True)
        (tmp_path / "eval" / name / "results.json").write_text(json.dumps({"conditions": rows}))
    lines = recipe.compare_with_paper.table(tmp_path).splitlines()
    found = {line.split(" | ")[0].strip("| "): line.split(" | ")[-1].strip(" |") for line in lines if "math500" in line}
    assert (found["base"], found["chrpo policy"]) == verdicts


def test_no_number_of_gpus_and_no_later_setting_undoes_a_finished_stage(recipe):
    def made(settings, gpus):
        return recipe.driver.Recipe(
            Path("run"), settings, gpus=gpus, sharding="zero3", scorer="rules", ray="py"
        ).stages()

    paper = recipe.settings.PAPER
    more_steps = replace(paper, rl_steps=paper.rl_steps + 1)
    changed = [title for (title, old), (_, new) in zip(made(paper, 8), made(more_steps, 8), strict=True) if old != new]
    assert changed == ["CHRPO: choose the ratio, keep the accuracy"], "settings reach a stage through its command alone"


def test_verl_is_given_the_recipes_settings_under_names_that_its_configuration_has(recipe):
    import yaml

    chosen = recipe.on_ray.overrides(recipe.settings.PAPER)
    train, merge = recipe.on_ray.commands(Path("/run"), "python", chosen)
    known = yaml.safe_load((recipe.on_ray.CONFIG / "qwen3_1p7b.yaml").read_text("utf-8"))
    overrides = [word for word in train if "=" in word]
    assert len(overrides) > 8
    for override in overrides:
        place = known
        for name in override.partition("=")[0].split("."):
            if override.startswith("trainer.default_local_dir"):
                break  # verl's own configuration has it
            place = place[name]
    assert f"/run/verl/global_step_{recipe.settings.PAPER.rl_steps}/actor" in merge
