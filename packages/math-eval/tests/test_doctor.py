"""The checks of `math-eval doctor`: each finds its fault, names its number and remedy, and leaves a sound run alone."""

import json
import shutil

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from math_eval.cli import cli
from math_eval.doctor import ERROR, OK, WARNING, examine
from math_eval.doctor.completions import repetition
from math_eval.errors import DataError


def _rows(count, **more):
    return [{"id": f"p{number}", **more} for number in range(count)]


def _found(run, check, **options):
    return [finding for finding in examine(run, **options) if finding.check == check]


def _change(run, **settings):
    path = run / "manifest.json"
    content = json.loads(path.read_text("utf-8"))
    content["settings"] |= settings
    path.write_text(json.dumps(content), "utf-8")


def test_a_sound_run_has_no_warning_and_exit_code_0(write_run):
    run = write_run("base", _rows(10))
    done = CliRunner().invoke(cli, ["doctor", str(run)])
    assert done.exit_code == 0, done.output
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}
    assert "ok       thinking: 0 of 10 samples never close their thinking" in done.stdout


@pytest.mark.parametrize("begin", ["<s><s>", "<|begin_of_text|> <|begin_of_text|>", "<｜begin▁of▁sentence｜>" * 2])
def test_a_doubled_begin_token_is_an_error_with_exit_code_1(begin, write_run):
    run = write_run("base", _rows(3, prompt=f"{begin}<user> add 1 and 2 <assistant>"))
    (finding,) = _found(run, "prompts")
    assert (finding.level, finding.found) == (ERROR, "1 of 1 prompts begin with the same special token twice")
    done = CliRunner().invoke(cli, ["doctor", str(run), "--json"])
    assert (done.exit_code, json.loads(done.stdout)[0]["check"]) == (1, "prompts")


@pytest.mark.parametrize(
    ("prompt", "lacks"),
    [
        ("<|im_start|>user\nadd 1 and 2<|im_end|>\n", True),
        ("<|im_start|>user\nadd 1 and 2<|im_end|>\n<|im_start|>assistant\n", False),
        ("[INST] add 1 and 2 [/INST]", False),
        ("<start_of_turn>user\nadd 1 and 2<end_of_turn>\n<start_of_turn>model\n", False),
        ("<｜User｜>add 1 and 2<｜Assistant｜><think>\n", False),
        ("<|im_start|>user\nadd 1 and 2 <COMP_20><|im_end|>\n", True),
        ("### Instruction:\nadd 1 and 2\n### Response:\n", False),
        ("add 1 and 2\n", False),
    ],
)
def test_a_missing_generation_prompt_is_seen_in_templates_of_every_style(prompt, lacks, write_run):
    run = write_run("base", _rows(1, prompt=prompt, completion=r"so 3 </think> \boxed{3}"))
    assert [finding.level for finding in _found(run, "prompts")] == [WARNING if lacks else OK]


def test_a_blank_question_is_no_fault_of_the_prompts(write_run):
    run = write_run("base", _rows(1, question=" ", prompt="<|im_start|>user\n <|im_end|>\n"))
    assert [finding.level for finding in _found(run, "prompts")] == [OK]


def test_texts_of_a_stranger_take_linear_time(write_run):
    half = "a" * 500_000
    hostile = {"question": f"{half}b{half}", "prompt": half * 4, "answer": "C", "extracted": "1" * 2_000_000}
    run = write_run("base", _rows(1, **hostile))
    path = run / "manifest.json"
    tags = {"open": " ", "close": " x", "between": " ", "opened": False}
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "thinking_format": tags}), "utf-8")
    assert [finding.level for finding in _found(run, "prompts")] == [OK]
    answers = [finding.found for finding in _found(run, "answers")]
    assert any(found.startswith("1 of 1 samples answer a question of letters with something") for found in answers)
    spaces = write_run("spaces", _rows(1, prompt=" " * 1_000_000 + "."))
    shutil.copy(path, spaces / "manifest.json")
    assert [finding.level for finding in _found(spaces, "prompts")] == [OK]


def test_an_empty_block_and_a_block_opened_twice_are_warned_of(write_run):
    head = "<|im_start|>user\nadd 1 and 2<|im_end|>\n<|im_start|>assistant\n"
    empty = write_run("empty", _rows(2, prompt=f"{head}<think>\n\n</think>\n\n", completion=r"\boxed{3}"))
    (finding,) = _found(empty, "prompts")
    assert (finding.level, "end in an empty thinking block" in finding.found) == (WARNING, True)
    _change(empty, thinking={"name": "budget=64"})
    assert [finding.level for finding in _found(empty, "prompts")] == [WARNING]
    _change(empty, thinking={"name": "none"})
    assert [finding.level for finding in _found(empty, "prompts")] == [OK]
    twice = write_run("twice", _rows(2, prompt=f"{head}<think>\n", completion=r"<think> 3 </think> \boxed{3}"))
    (finding,) = _found(twice, "prompts")
    assert (finding.level, "the completion opens it again" in finding.found) == (WARNING, True)


@pytest.mark.parametrize(("reason", "remedy"), [("length", "raise --max-tokens"), ("stop", "check --thinking-format")])
def test_unclosed_thinking_is_counted_and_the_remedy_depends_on_the_cause(reason, remedy, write_run):
    open_rows = [
        {
            "id": f"o{n}",
            "completion": "<think> 1 + 2",
            "finish_reason": reason,
            "verdict": "no_answer",
            "extracted": None,
        }
        for n in range(3)
    ]
    (finding,) = _found(write_run("base", [*_rows(7), *open_rows]), "thinking")
    assert finding.level == WARNING
    assert finding.found.startswith("3 of 10 samples never close their thinking")
    assert remedy in finding.remedy


def test_loops_are_found_and_shown(write_run):
    loop = "<think> I wonder. " + "Wait, let me check that once more. " * 20
    (finding,) = _found(write_run("base", [*_rows(8), *_rows(2, id="l", completion=loop, sample=1)][:9]), "loops")
    assert (finding.level, finding.found[:33]) == (WARNING, "1 of 9 samples end in a text that")
    assert "'Wait, let me check that once more.'" in finding.found


@given(st.text("abc .\n", min_size=1, max_size=40), st.integers(5, 30), st.text("xyz", max_size=300))
def test_a_repeated_text_is_found_whatever_precedes_it(unit, times, before):
    text = before + unit * times
    covers = len(text.rstrip()) - len(before) >= 200 + len(unit)
    if covers and times >= 6 and unit.strip():
        found = repetition(text)
        assert found
        assert found in unit * 3
        assert len(found) <= len(unit)


@given(st.lists(st.integers(0, 10**6), min_size=30, max_size=60, unique=True))
def test_text_that_goes_on_is_no_loop(numbers):
    assert repetition(" ".join(f"step {number}" for number in numbers)) == ""


def test_answers_outside_the_expected_form_are_counted(write_run):
    rows = [
        *_rows(2, completion="<think> x </think> I do not know.", verdict="no_answer", extracted=None),
        *[{"id": f"b{n}", "completion": "<think> x </think> It is 3."} for n in range(3)],
        *[{"id": f"c{n}", "answer": "C", "extracted": "42", "verdict": "incorrect"} for n in range(2)],
        *[
            {"id": f"d{n}", "answer": "C", "extracted": text}
            for n, text in enumerate(("C", "(C)", "C. 42", r"\text{C}"))
        ],
    ]
    findings = {
        finding.found.partition("samples ")[2][:22]: finding for finding in _found(write_run("b", rows), "answers")
    }
    assert {words: (finding.level, finding.found.split()[0]) for words, finding in findings.items()} == {
        "have no answer althoug": (WARNING, "2"),
        "answer without a box o": (WARNING, "3"),
        "answer a question of l": (WARNING, "2"),
    }


def test_refused_requests_are_an_error_and_their_words_stay_one_line(write_run):
    words = "too long\nok       prompts: forged\x1b[31m"
    rows = [*_rows(3), {"id": "r", "completion": "", "verdict": "error", "extracted": None, "refused": words}]
    done = CliRunner().invoke(cli, ["doctor", str(write_run("base", rows))])
    assert done.exit_code == 1
    assert done.stdout.startswith("error    requests: 1 of 4 samples were refused by the server")
    assert r"too long\nok       prompts: forged\x1b[31m" in done.stdout


def test_the_sampler_is_compared_with_generation_config_json(write_run, tmp_path):
    run, model = write_run("base", _rows(2)), tmp_path / "model"
    assert _found(run, "sampler")[0].found.startswith("not checked: the model of the run is not at hand")
    model.mkdir()
    (model / "generation_config.json").write_text(
        json.dumps({"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "eos_token_id": 1}), "utf-8"
    )
    (finding,) = _found(run, "sampler", model=model)
    assert finding.level == WARNING
    assert finding.found == (
        "sampled greedily, top_p 1; generation_config.json of the model asks for temperature 0.6, top_p 0.95"
    )
    assert finding.remedy.startswith("sample with --temperature 0.6 --top-p 0.95")
    _change(run, temperature=0.6, top_p=0.95)
    assert _found(run, "sampler", model=model)[0].level == OK
    (model / "generation_config.json").write_text("{", "utf-8")
    with pytest.raises(DataError, match=r"generation_config\.json"):
        examine(run, model=model)


def test_a_known_accuracy_is_compared_with_the_interval_of_the_run(write_run):
    run = write_run("base", [*_rows(50), *[{"id": f"w{n}", "verdict": "incorrect"} for n in range(50)]])
    assert _found(run, "accuracy")[0].found.startswith("not checked")
    assert _found(run, "accuracy", expected={"sums": 0.55})[0].level == OK
    (finding,) = _found(run, "accuracy", expected={"sums": 0.843})
    assert (finding.level, finding.found) == (
        WARNING, "sums: 50.0% (95 % 40.4% to 59.6%), known 84.3% (as given)"
    )  # fmt: skip
    for wrong in ("sums", "sums=x", "=3", "sums=200", "sums=nan"):
        done = CliRunner().invoke(cli, ["doctor", str(run), "--expect", wrong])
        assert (done.exit_code, "write TASK=PERCENT" in done.stderr) == (2, True), wrong


def test_a_published_accuracy_is_compared_only_under_its_conditions(write_run):
    name = "Org/DeepSeek-R1-Distill-Qwen-1.5B"
    run = write_run("r1", _rows(20, task="math500", model=name, verdict="incorrect"), ("math500",))
    assert _found(run, "accuracy")[0].found.startswith("not checked")
    _change(run, temperature=0.6, max_tokens=32768)
    (finding,) = _found(run, "accuracy")
    assert (finding.level, "known 84.3% (DLER, arXiv 2510.15110, table 1)" in finding.found) == (WARNING, True)
    _change(run, limit=20)
    assert _found(run, "accuracy")[0].level == OK, "the first problems of a task are not the task"
