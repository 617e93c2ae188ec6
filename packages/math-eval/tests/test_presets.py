import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from math_eval import RunSettings, run
from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.presets import PRESETS, preset_values


def _run(folder, *arguments):
    done = CliRunner().invoke(cli, ["run", *map(str, arguments), "--output-dir", str(folder)])
    return done, json.loads((folder / "manifest.json").read_text("utf-8"))["settings"] if done.exit_code == 0 else {}


def test_a_preset_gives_values_to_the_flags_that_are_not_given(tiny_model, problems, tmp_path):
    command = ["--model", tiny_model, "--tasks", problems, "--preset", "reasoning", "--limit", 2]
    done, settings = _run(tmp_path / "r", *command, "--max-tokens", 24, "--samples", 3)
    assert done.exit_code == 0, done.stderr
    assert "preset reasoning: --temperature 0.6, --top-p 0.95\n" in done.stderr
    assert [settings[name] for name in ("temperature", "top_p", "max_tokens", "samples")] == [0.6, 0.95, 24, 3]
    again, _ = _run(tmp_path / "r", *command, "--max-tokens", 24, "--samples", 3)
    assert "already complete" in again.stderr
    too_long, _ = _run(tmp_path / "whole", *command)
    assert "--max-tokens 32768, --samples 16\n" in too_long.stderr
    assert (too_long.exit_code, "32768" in too_long.stderr.splitlines()[-1]) == (2, True), "the tiny model is too small"


@pytest.mark.parametrize(("problems", "samples"), [(0, 16), (100, 16), (101, 4), (1000, 4), (1001, 1)])
def test_small_tasks_get_more_samples(problems, samples):
    assert preset_values("reasoning", problems)["samples"] == samples


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_every_preset_makes_valid_settings_and_a_larger_task_never_gets_more_samples(one, two):
    for name in PRESETS:
        fewer, more = (preset_values(name, problems) for problems in sorted((one, two)))
        assert RunSettings("model", ("gsm8k",), **fewer).samples >= RunSettings("model", ("gsm8k",), **more).samples


@pytest.fixture(scope="module")
def model(tiny_model):
    from math_eval.backends.hf import HFModel

    return HFModel(tiny_model)


@pytest.mark.parametrize(
    ("changes", "noted"), [({}, True), ({"max_tokens": 32768}, False), ({"temperature": 0.6}, False)]
)
def test_a_thinking_model_with_the_default_settings_is_noted_before_the_work(
    changes, noted, tiny_model, model, problems, tmp_path
):
    """The context of the tiny model is too small for such a run, which is refused after the note."""
    lines = []
    settings = RunSettings(str(tiny_model), (str(problems),), **changes)
    with pytest.raises(DataError, match="context"):
        run(settings, tmp_path / "r", backend=model, notify=lines.append)
    assert any("--preset reasoning" in line for line in lines) == noted
