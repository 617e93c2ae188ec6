"""Thinking formats in evaluation: how a run finds its model's, and how samples are cut with it afterwards."""

import json
import shutil

import pytest
from click.testing import CliRunner

from math_eval._shared.thinking import THINK, ThinkingFormat
from math_eval._shared.thinking_formats import FORMATS, save_format
from math_eval.backends.loading import thinking_format
from math_eval.backends.replies import read_reply
from math_eval.cli import cli
from math_eval.run_folders import thinking_parts
from math_eval.settings import RunSettings


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("thinking", "answer"), [("5 + 3", "It is 8."), (" \n5 + 3\n", "\n8\n"), ("5 + 3", None)])
def test_a_response_in_two_fields_is_joined_without_loss_between_the_models_tags(name, thinking, answer):
    message = {"role": "assistant", "content": answer, "reasoning_content": thinking}
    body = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": {"completion_tokens": 40}}
    parts = FORMATS[name].parts(read_reply(json.dumps(body).encode(), "server", FORMATS[name]).text)
    assert (parts.before, parts.text, parts.answer) == ("", thinking, answer or "")
    assert bool(parts.closing) == (answer is not None)


@pytest.mark.parametrize(
    ("manifest", "row", "text", "answer"),
    [
        ({}, {"completion": "<think>1</think>2"}, "1", "2"),
        ({"thinking_format": FORMATS["bracket-think"]}, {"completion": "[THINK]1[/THINK]2"}, "1", "2"),
        ({"thinking_format": THINK}, {"completion": "1</think>2", "prompt": "a<think>\n"}, "1", "2"),
        ({"thinking_format": THINK}, {"completion": "1 + ", "prompt": "a<think>\n"}, "1 +", ""),
        (
            {"thinking_format": THINK},
            {"completion": "<COMP_40>\n1</think>2", "prompt": "a<think>\n", "chosen_ratio": 0.4},
            "1",
            "2",
        ),
        (
            {"thinking_format": THINK},
            {"completion": "<COMP_0>\n</think>2", "prompt": "a<think>\n", "chosen_ratio": 0},
            "",
            "2",
        ),
    ],
)
def test_a_sample_is_cut_with_the_format_of_its_run_and_without_its_ratio_token(manifest, row, text, answer):
    found = {name: vars(each) for name, each in manifest.items()}
    parts = thinking_parts({"prompt": "a", "chosen_ratio": None, **row}, found)
    assert (parts.text, parts.answer) == (text, answer)


def test_the_given_format_wins_over_the_folders_and_that_over_the_templates(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")

    def found(given=None):
        return thinking_format(RunSettings(model=str(folder), tasks=("a.jsonl",), thinking_format=given))

    assert found() == THINK
    save_format(ThinkingFormat("<plan>", "</plan>", opened=True), folder)
    assert found() == ThinkingFormat("<plan>", "</plan>")
    assert found("seed-think") == FORMATS["seed-think"]
    server = RunSettings(model="openai:m", tasks=("a.jsonl",), base_url="http://127.0.0.1:9/v1")
    assert thinking_format(server) == THINK


def test_a_run_records_its_format_and_prints_it_once(tiny_model, problems, tmp_path):
    plain = ["run", "--model", str(tiny_model), "--tasks", str(problems), "--max-tokens", "4", "--limit", "1"]
    result = CliRunner().invoke(cli, [*plain, "--output-dir", str(tmp_path / "r"), "--thinking-format", "thought"])
    assert result.exit_code == 0, result.output
    assert result.stderr.count("thinking format: <thought> … </thought>\n") == 1
    manifest = json.loads((tmp_path / "r/manifest.json").read_text())
    assert manifest["thinking_format"] == manifest["settings"]["thinking_format"] == vars(FORMATS["thought"])
    other = CliRunner().invoke(cli, [*plain, "--output-dir", str(tmp_path / "r")])
    assert other.exit_code == 2
    assert "thinking_format.open was '<thought>', is None" in other.stderr
