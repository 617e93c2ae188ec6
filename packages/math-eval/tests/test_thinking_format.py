"""Thinking formats in evaluation: how a run finds its model's, and how samples are cut with it afterwards."""

import json
import shutil

import pytest
from click.testing import CliRunner

from math_eval._shared import checkpoint_loader
from math_eval._shared.thinking import THINK, ThinkingFormat
from math_eval._shared.thinking_formats import FORMATS, save_format
from math_eval.backends import prompts
from math_eval.backends.loading import thinking_format
from math_eval.backends.replies import read_reply
from math_eval.cli import cli
from math_eval.run_folders import checked_manifest, thinking_parts
from math_eval.settings import RunSettings
from math_eval.tags import as_graded


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("thinking", "answer"), [("5 + 3", "It is 8."), (" \n5 + 3\n", "\n8\n"), ("5 + 3", None)])
def test_a_response_in_two_fields_is_joined_without_loss_between_the_models_tags(name, thinking, answer):
    message = {"role": "assistant", "content": answer, "reasoning_content": thinking}
    body = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": {"completion_tokens": 40}}
    parts = FORMATS[name].parts(read_reply(json.dumps(body).encode(), "server", FORMATS[name]).text)
    assert (parts.before, parts.text, parts.answer) == ("", thinking, answer or "")
    assert bool(parts.closing) == (answer is not None)


SHORT = {"ratios": {"[short]": 0.4}, "policy": "[any]"}


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
        ({"control_tokens": SHORT}, {"completion": "[short]\n<think>1</think>2", "chosen_ratio": 0.4}, "1", "2"),
        ({"control_tokens": SHORT}, {"completion": "<b>1</b> and <COMP_40>"}, "", "<b>1</b> and <COMP_40>"),
    ],
)
def test_a_sample_is_cut_with_the_format_of_its_run_and_without_its_ratio_token(manifest, row, text, answer):
    found = {name: each if isinstance(each, dict) else vars(each) for name, each in manifest.items()}
    parts = thinking_parts({"prompt": "a", "chosen_ratio": None, **row}, found)
    assert (parts.text, parts.answer) == (text, answer)


def test_the_given_format_wins_over_the_folders_and_that_over_the_templates(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")

    def found(given=None):
        return thinking_format(RunSettings(model=str(folder), tasks=("a.jsonl",), thinking_format=given))[0]

    assert found() == THINK
    save_format(ThinkingFormat("<plan>", "</plan>", opened=True), folder)
    assert found() == ThinkingFormat("<plan>", "</plan>")
    assert found("seed-think") == FORMATS["seed-think"]
    server = RunSettings(model="openai:m", tasks=("a.jsonl",), base_urls=("http://127.0.0.1:9/v1",))
    assert thinking_format(server) == (THINK, None)


@pytest.mark.parametrize("given", [(), ("--thinking-format", "think")])
def test_the_tokenizer_of_a_model_is_loaded_once(tiny_model, problems, tmp_path, monkeypatch, given):
    loaded, load = [], checkpoint_loader.load_tokenizer
    for module in (checkpoint_loader, prompts):
        monkeypatch.setattr(module, "load_tokenizer", lambda folder: loaded.append(folder) or load(folder))
    plain = ["run", "--model", str(tiny_model), "--tasks", str(problems), "--max-tokens", "4", "--limit", "1", *given]
    result = CliRunner().invoke(cli, [*plain, "--output-dir", str(tmp_path / "r")])
    assert (result.exit_code, len(loaded)) == (0, 1), result.output


def test_a_ratio_with_a_switch_is_asked_for_with_it_and_read_by_its_token(tiny_model, problems, tmp_path):
    folder, run = shutil.copytree(tiny_model, tmp_path / "model"), tmp_path / "run"
    path = folder / "control_tokens.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "switches": {"<COMP_20>": "<COMP_POLICY>!"}}))
    limits = ["--max-tokens", "30", "--limit", "2", "--output-dir", str(run)]
    asked = ["--ratio", "0.2", "--ratio", "1", "--instruction", ""]
    result = CliRunner().invoke(cli, ["run", "--model", str(folder), "--tasks", str(problems), *asked, *limits])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (run / "samples_sums.jsonl").read_text().splitlines()]
    assert [row["prompt"].split()[-2] for row in rows] == ["<COMP_POLICY>!"] * 2 + ["<COMP_100>"] * 2
    manifest = checked_manifest(run)
    assert manifest["control_tokens"]["switches"] == {"<COMP_20>": "<COMP_POLICY>!"}
    assert all("<COMP" not in thinking_parts(row, manifest).text for row in rows)


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
    assert result.stderr.startswith("thinking format: "), "before the work"


PLAN = {"format": 1, "open": "<plan>", "close": "</plan>", "between": "", "opened": False}


@pytest.fixture
def plan(tmp_path):
    """Files of a format that nobody knows: opened by the model, and by the template."""
    for name, opened in (("model", False), ("template", True)):
        (tmp_path / f"{name}.json").write_text(json.dumps({**PLAN, "opened": opened}))
    return tmp_path


ROWS = [
    {"completion": r"<plan>\boxed{1}</plan>It is 2.", "gold": "2"},
    {"completion": r"<plan>\boxed{1} or", "gold": "1"},
    {"completion": r"\boxed{1}</plan>It is 2.", "gold": "2", "prompt": "Add. <plan>"},
    {"completion": "It is 2.", "gold": "2", "prompt": "Add."},
]


def _grade(*arguments):
    return CliRunner().invoke(cli, ["grade", *map(str, arguments)])


def test_stored_completions_with_tags_of_ones_own_are_graded_after_their_thinking(plan):
    source, out = plan / "in.jsonl", plan / "out.jsonl"
    source.write_text("".join(json.dumps({"id": str(n), **row}) + "\n" for n, row in enumerate(ROWS)))
    result = _grade(source, out, "--thinking-format", plan / "model.json")
    assert (result.exit_code, result.stdout) == (0, "correct 3, no_answer 1\n")
    assert result.stderr.startswith("thinking format: <plan> … </plan>\n")
    assert json.loads(out.read_text().splitlines()[0])["completion"] == ROWS[0]["completion"], "kept as it was"
    manifest = json.loads((plan / "out.jsonl.manifest.json").read_text())
    own = {name: value for name, value in PLAN.items() if name != "format"}
    assert manifest["thinking_format"] == manifest["settings"]["thinking_format"] == own
    refused = _grade(source, out)
    assert (refused.exit_code, "thinking_format.open was '<plan>', is None" in refused.stderr) == (2, True)
    plain = _grade(source, out, "--overwrite")
    assert plain.stdout == "incorrect 2, correct 2\n", "the boxes in the thinking count without the tags"


def test_the_format_opens_the_block_where_rows_have_no_prompt(plan):
    source = plan / "in.jsonl"
    rows = [r"\boxed{1}</plan>It is 2.", r"\boxed{1} or"]
    source.write_text("".join(json.dumps({"id": row, "gold": "2", "completion": row}) + "\n" for row in rows))
    result = _grade(source, plan / "out.jsonl", "--thinking-format", plan / "template.json")
    assert (result.exit_code, result.stdout) == (0, "correct 1, no_answer 1\n")


def test_a_run_is_graded_again_in_its_own_format_or_in_the_given_one(plan, write_run):
    run = write_run("base", [{"id": "a", "completion": r"<plan>\boxed{1}</plan>\boxed{3}", "answer": "3"}])
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    own = {name: value for name, value in PLAN.items() if name != "format"}
    path.write_text(json.dumps({**manifest, "thinking_format": own}))
    again = _grade(run, plan / "again")
    assert (again.exit_code, again.stdout) == (0, "correct 1\n")
    assert again.stderr.startswith("thinking format: <plan> … </plan>\n")
    assert json.loads((plan / "again/manifest.json").read_text())["thinking_format"] == own
    other = _grade(run, plan / "other", "--thinking-format", "thought")
    assert other.exit_code == 0, other.output
    kept = json.loads((plan / "other/manifest.json").read_text())
    assert kept["thinking_format"] == kept["settings"]["thinking_format"] == vars(FORMATS["thought"])


def test_a_format_that_there_is_not_is_refused_before_anything_is_written(plan):
    (plan / "in.jsonl").write_text('{"id": "a", "gold": "1", "completion": "1"}\n')
    refused = _grade(plan / "in.jsonl", plan / "out.jsonl", "--thinking-format", "plan")
    assert refused.exit_code == 2
    assert "thinking format 'plan' is no file and no known name" in refused.stderr
    assert not (plan / "out.jsonl").exists()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("prompt", ["Add.", "Add. <think>\n"])
def test_tags_that_the_grader_knows_reach_it_as_they_are(name, prompt):
    completion = FORMATS[name].join("1 + 1", "2")
    assert as_graded(completion, prompt, FORMATS[name]) == (completion, prompt)


def test_tags_that_the_grader_does_not_know_reach_it_as_those_of_think():
    plan = ThinkingFormat("<plan>", "</plan>")
    assert as_graded("<plan>1</plan>2", "Add.", plan) == ("<think>1</think>2", "")
    assert as_graded("1</plan>2", "Add. <plan>\n", plan) == ("<think>1</think>2", "")
    assert as_graded("1 + ", "Add. <plan>\n", plan) == ("<think>1 + ", "")
    assert as_graded("2", "Add.", plan) == ("2", "")
