"""Runs that make a model think less: with the tiny model, whose tokens are words, so budgets can be counted by hand."""

import json
import math
import re
import shutil

import pytest
from click.testing import CliRunner

from math_eval import RunSettings, run
from math_eval._shared.thinking import THINK
from math_eval.backends import Sampling
from math_eval.cli import cli
from math_eval.compare import compare
from math_eval.errors import DataError
from math_eval.report import write_report
from math_eval.report.data import collect
from math_eval.report.table import rows
from math_eval.run_folders import load_condition, thinking_parts
from math_eval.thinking_modes import CLOSING, TRIAL, parse_mode


@pytest.fixture(scope="module")
def model(tiny_model):
    from math_eval.backends.hf import HFModel

    return HFModel(tiny_model)


@pytest.fixture(scope="module")
def make(tiny_model, problems, model, tmp_path_factory):
    """`make(thinking, **changes)` runs the tiny model and returns the run folder; equal runs are made once."""
    made = {}

    def make(thinking=None, backend=model, **changes):
        key = json.dumps([thinking, changes], sort_keys=True)
        if key not in made:
            plain = {"model": str(tiny_model), "tasks": (str(problems),), "max_tokens": 60, "instruction": ""}
            folder = made[key] = tmp_path_factory.mktemp("runs") / (thinking or "free").replace(":", "-")
            run(RunSettings(**{**plain, **changes}, thinking=thinking), folder, backend=backend)
        return made[key]

    return make


def _rows(folder):
    rows = [json.loads(line) for line in (folder / "samples_sums.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name != "latency_s"} for row in rows]


def _thinking(row):
    """The words between the tags."""
    return row["completion"].partition("<think> ")[2].partition(" </think>")[0].split()


def _settings(folder):
    return json.loads((folder / "manifest.json").read_text("utf-8"))["settings"]


@pytest.mark.parametrize("budget", [1, 3, 5, 8])
def test_thinking_within_a_budget_is_the_beginning_of_the_free_one(make, budget):
    """The tiny model knows no word of the sentence, and in some samples it thinks on after the closing tag."""
    folder = make(f"budget={budget}", ratios=(None, "policy"))
    free, stopped = _rows(make(ratios=(None, "policy"))), _rows(folder)
    for before, after in zip(free, stopped, strict=True):
        thought, own = _thinking(before), " ".join(_thinking(before)[:budget])
        assert after["prompt"] == before["prompt"]
        if len(thought) < budget:
            same = {name: value for name, value in after.items() if name not in ("key", "batch")}
            assert same == {name: before[name] for name in same}
            continue
        start = before["completion"].partition("<think> ")[0]
        assert after["completion"].startswith(f"{start}<think> {own} </think>")
        assert after["closing_text"] == " </think>"
        ended = after["finish_reason"] == "stop"
        assert after["completion_tokens"] == len(after["completion"].split()) + ended
        on = "think>" in after["completion"].partition(" </think>")[2]
        assert (after["thinking_tokens"] > budget, after.get("over_budget", False)) == (on, on)
        assert on or after["thinking_tokens"] == budget
    assert any(len(_thinking(row)) >= budget for row in free)
    conditions = json.loads((folder / "results.json").read_text("utf-8"))["conditions"]
    for condition, own in zip(conditions, (stopped[:16], stopped[16:]), strict=True):
        assert condition.get("closed_rate", 0) == sum("closing_text" in row for row in own) / 16
        assert condition.get("over_budget", 0) == sum("over_budget" in row for row in own)


def test_a_stopped_sample_is_read_without_the_text_that_stopped_it(make):
    folder = make("budget=3")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    row = _rows(folder)[5]
    assert thinking_parts(row, manifest).text == "so 1 +"
    assert row["thinking_chars"] == len("so 1 +")
    assert row["first_correct_chars"] is None


def test_samples_at_a_temperature_stay_within_the_budget_and_depend_on_the_seed_only(make, model, tiny_model, problems):
    hot = {"temperature": 1.5, "samples": 2, "seeds": (3, 1)}
    both = _rows(make("budget=4", **hot))
    assert sum("closing_text" in row for row in both) > 16
    assert [row for row in both if row["seed"] == 1] == _rows(make("budget=4", **{**hot, "seeds": (1,)}))
    assert len({row["completion"] for row in both}) > 8


def test_without_a_switch_the_prompt_ends_in_an_empty_block(make):
    folder = make("none")
    rows = _rows(folder)
    assert rows[5]["prompt"] == "<user> add 1 and 1 <assistant><think>\n\n</think>\n\n"
    for row in rows:
        assert (row["thinking_tokens"] > 0) == row.get("over_budget", False) == ("think>" in row["completion"])
    assert _settings(folder)["thinking"] == {"name": "none"}


@pytest.mark.parametrize(
    ("switch", "prompt"),
    [
        ("{%- if enable_thinking is defined and not enable_thinking %}<think></think>{%- endif %}", "<think></think>"),
        ("{%- if not thinking | default(true) %}</think>{%- endif %}", "</think>"),
        ("{%- if not enable_thinking | default(true) %} so{%- endif %}<think>", " so<think>\n\n</think>\n\n"),
        ("<think>{{ '\\n' }}", "<think>\n\n\n</think>\n\n"),
        ("", "<think>\n\n</think>\n\n"),
    ],
    ids=["empty block", "closing tag", "opened in spite of it", "opened and no switch", "no switch"],
)
def test_the_switch_of_a_template_is_used_unless_the_block_is_open_all_the_same(tiny_model, tmp_path, switch, prompt):
    from math_eval.backends.prompts import Prompts

    folder = shutil.copytree(tiny_model, tmp_path / "model")
    template = "{%- for message in messages %}<user> {{ message.content }}{%- endfor %} <assistant>"
    (folder / "chat_template.jinja").write_text(template + switch, "utf-8")
    prompts = Prompts(folder)
    assert prompts.render(["add 1 and 2", "add 3 and 2"], THINK) == [
        f"<user> add {digit} and 2 <assistant>{prompt}" for digit in (1, 3)
    ]


def test_concise_adds_its_sentence_to_the_instruction(make):
    rows = _rows(make("concise=answer", instruction="add"))
    assert rows[5]["question"] == "add 1 and 1"
    sentence = parse_mode("concise=answer").sentence
    assert rows[5]["prompt"] == f"<user> add {sentence}\nadd 1 and 1 <assistant>"
    assert _settings(make("concise=answer", instruction="add"))["thinking"] == {
        "name": "concise=answer", "sentence": sentence
    }  # fmt: skip


def test_a_trial_answer_has_the_probabilities_of_the_models_own_logits(model, tiny_model):
    """The model is asked for the token after each token: the confidence is their geometric mean without the brace."""
    import torch
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    prompt = model.render(["add 1 and 2"])[0]
    ids = list(model.encode(prompt)) + model.ids("<think> so 1 + \\boxed{")
    made, scores = [], []
    with torch.inference_mode():
        while model.decode(made[-1:]) != "}" and len(made) < 32:
            step = plain(input_ids=torch.tensor([ids + made])).logits[0, -1].log_softmax(-1)
            made.append(int(step.argmax()))
            scores.append(float(step.max()))
    assert model.decode(made[-1:]) == "}", "the tiny model closes its boxes"
    sure = math.exp(sum(scores[:-1]) / len(scores[:-1]))
    assert 0.1 < sure < 0.9999
    for threshold, stops in ((sure - 1e-4, True), (sure + 1e-4, False)):
        sampling = Sampling(60, stop=parse_mode(f"exit={threshold:.6f}:3").stop(THINK))
        (found,) = model.complete([prompt], sampling, 0)
        assert found.text.startswith("<think> so 1 + </think>") == stops


def test_thinking_stops_at_once_if_any_answer_is_sure_enough_and_never_if_none_is(make):
    free = _rows(make())
    first = _rows(make("exit=0.000001:3"))
    for before, after in zip(free, first, strict=True):
        assert _thinking(after)[:3] == _thinking(before)[:3]
    assert any(row["thinking_tokens"] == 3 and row["trial_tokens"] > 0 for row in first)
    never = _rows(make("exit=1:3"))
    for before, after in zip(free, never, strict=True):
        if "closing_text" not in after:
            assert (after["completion"], after["completion_tokens"]) == (
                before["completion"],
                before["completion_tokens"],
            )
            assert after["trial_tokens"] > 0
    assert any("closing_text" not in row for row in never)
    content = {"name": "exit=1:3", "pause": 3, "closing": CLOSING, "confidence": 1, "trial": TRIAL}
    assert _settings(make("exit=1:3"))["thinking"] == content


def test_two_modes_are_two_runs_and_the_same_one_is_resumed(make, model, tiny_model, problems, tmp_path):
    folder = make("budget=3")
    command = ["run", "--model", str(tiny_model), "--tasks", str(problems), "--max-tokens", "60", "--instruction", ""]
    again = CliRunner().invoke(cli, [*command, "--thinking", "budget=3", "--output-dir", str(folder)])
    assert (again.exit_code, "already complete" in again.stderr) == (0, True), again.output
    other = CliRunner().invoke(cli, [*command, "--thinking", "budget=4", "--output-dir", str(folder)])
    assert (other.exit_code, "thinking.name was 'budget=3', is 'budget=4'" in other.stderr) == (2, True)
    free = CliRunner().invoke(cli, [*command, "--output-dir", str(folder)])
    assert (free.exit_code, "thinking.name was 'budget=3', is None" in free.stderr) == (2, True)


def test_comparisons_and_reports_name_the_mode(make, tmp_path):
    free, stopped = make(), make("budget=3")
    values = compare(load_condition(free), load_condition(stopped)).values
    assert (values["a"], values["b"]) == ("free:none", "budget=3:none (thinking budget=3)")
    data = collect([f"base={free}", f"stopped={stopped}"])
    assert [entry.name for entry in data.entries] == ["base", "stopped (thinking budget=3)"]
    write_report([f"base={free}", f"base={stopped}"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert re.findall(r"<li><b>(.*?)</b>", page) == ["base", "base (thinking budget=3)"]
    assert re.findall(r'<g class="(c\d)"><title>base', page)[:2] == ["c0", "c1"]


def test_a_report_has_what_the_runs_closed_and_tried_beside_their_cost(make, tmp_path):
    folders, out = [make(), make("budget=3"), make("exit=1:3")], tmp_path / "report.html"
    columns = {heading: cells for heading, *cells in zip(*rows(collect(list(map(str, folders)))), strict=True)}
    closed = [sum("closing_text" in row for row in _rows(folder)) / 16 for folder in folders]
    assert columns["closed by run"] == [f"{100 * share:.1f} %" for share in closed]
    tried = sum(row["trial_tokens"] for row in _rows(folders[2])) / 16
    assert columns["trial tokens"] == ["0.0", "0.0", f"{tried:.1f}"]
    write_report(list(map(str, folders)), out)
    shown = re.findall(r"<th scope=col>(closed by run|trial tokens)</th>", out.read_text("utf-8"))
    assert shown == ["closed by run", "trial tokens"]
    write_report([str(folders[0])], out)
    assert not re.search("closed by run|trial tokens", out.read_text("utf-8"), re.IGNORECASE)


def test_a_budget_that_leaves_no_room_for_an_answer_ends_the_run_with_what_to_do(make):
    with pytest.raises(DataError, match="--max-tokens 11; raise it"):
        make("budget=10", max_tokens=11)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--thinking", "exit"], "needs the probabilities of tokens"),
        (["--thinking", "none"], "as --tokenizer"),
        (["--thinking", "budget=8"], "as --tokenizer"),
        (["--thinking", "loud"], "got 'loud'"),
    ],
)
def test_what_a_server_cannot_do_is_refused_in_one_line(arguments, message, problems, tmp_path):
    server = ["--model", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--tasks", str(problems)]
    refused = CliRunner().invoke(cli, ["run", *server, *arguments, "--output-dir", str(tmp_path / "r")])
    assert (refused.exit_code, message in refused.stderr) == (2, True), refused.output
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "r").exists()
