import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.resources import files

import pytest
from click.testing import CliRunner

from math_eval import RunSettings, run
from math_eval._shared.lock import locked
from math_eval.backends import Sampling
from math_eval.cli import cli
from math_eval.efficiency import accuracy_at
from math_eval.errors import DataError
from math_eval.run_folders import load_run
from math_eval.summary import by_problem

_SPEED_FIELDS = ("latency_s", "samples_per_s")


@pytest.fixture(scope="module")
def model(tiny_model):
    from math_eval.backends.hf import HFModel

    return HFModel(tiny_model)


@pytest.fixture
def settings(tiny_model, problems):
    def make(**changes):
        plain = {"model": str(tiny_model), "tasks": (str(problems),), "max_tokens": 40, "instruction": ""}
        return RunSettings(**{**plain, **changes})

    return make


def _rows(folder):
    rows = [json.loads(line) for line in (folder / "samples_sums.jsonl").read_text("utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name not in _SPEED_FIELDS} for row in rows]


def _results(folder):
    conditions = json.loads((folder / "results.json").read_text("utf-8"))["conditions"]
    return [{name: value for name, value in row.items() if name not in _SPEED_FIELDS} for row in conditions]


def test_a_run_asks_grades_and_counts(settings, model, tmp_path):
    results, _ = run(settings(ratios=(None, 0.2, "policy")), tmp_path / "r", backend=model)
    rows = _rows(tmp_path / "r")
    assert [row["ratio"] for row in rows] == [None] * 16 + [0.2] * 16 + ["policy"] * 16
    assert rows[5]["prompt"] == "<user> add 1 and 1 <assistant>"
    assert rows[21]["prompt"] == "<user> add 1 and 1 <COMP_20> <assistant>"
    assert rows[37]["prompt"] == "<user> add 1 and 1 <COMP_POLICY> <assistant>"
    assert rows[21]["completion"] == "<COMP_20> <think> 1 + 1 = 2 </think> \\boxed{ 2 }"
    short = rows[21]
    assert (short["thinking_tokens"], short["completion_tokens"]) == (5, 12)
    assert (short["verdict"], short["extracted"], short["chosen_ratio"]) == ("correct", "2", 0.2)
    assert (short["thinking_chars"], short["first_correct_chars"]) == (len("1 + 1 = 2"), len("1 + 1 = 2"))
    assert (short["finish_reason"], short["truncated"], short["level"], short["model"]) == ("stop", False, 1, "tiny")
    assert rows[5]["chosen_ratio"] is None
    assert {row["chosen_ratio"] for row in rows[32:]} == {0.2, 1.0}
    assert [condition["ratio"] for condition in results["conditions"]] == [None, 0.2, "policy"]
    assert results["conditions"][1]["accuracy"] > 0.9
    assert sum(results["conditions"][1]["verdicts"].values()) == 16
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
        "manifest.json", "results.json", "samples_sums.jsonl"
    ]  # fmt: skip


def test_the_curve_of_a_greedy_run_is_what_runs_with_these_limits_give(settings, model, tmp_path):
    """Short completions have 12 tokens, the last of which ends them; a limit of 11 cuts nothing but that."""
    run(settings(ratios=("policy",)), tmp_path / "whole", backend=model)
    stored = by_problem(_rows(tmp_path / "whole"))
    accuracy = {limit: accuracy_at(stored, limit)[0] for limit in (11, 12, 15, 40)}
    assert 0 == accuracy[11] < accuracy[12] == accuracy[15] < accuracy[40]
    for limit in (11, 12, 15):
        again, _ = run(settings(ratios=("policy",), max_tokens=limit), tmp_path / str(limit), backend=model)
        found = again["conditions"][0]["accuracy"]
        assert found == accuracy[limit] if limit > 11 else found == accuracy[12]


def test_greedy_completions_equal_those_of_generate(model, tiny_model, problems):
    """Left padding, the batch and rows that leave it change no completion."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    questions = [json.loads(line)["question"] for line in problems.read_text("utf-8").splitlines()]
    prompts = model.render([f"{question}{' <COMP_20>' * (n % 2)}" for n, question in enumerate(questions)])
    ours = model.complete(prompts, Sampling(40), seed=0)
    for prompt, completion in zip(prompts, ours, strict=True):
        ids = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        with torch.inference_mode():
            full = plain.generate(ids, max_new_tokens=40, do_sample=False)[0, ids.shape[1] :]
        assert completion.tokens == len(full)
        assert completion.text == tokenizer.decode(full[:-1])
    assert len({completion.tokens for completion in ours}) > 1


def test_sampling_depends_on_the_seed_only(model):
    prompts = model.render(["add 1 and 2"]) * 8
    hot = Sampling(40, temperature=3.0)
    first, again, other = (model.complete(prompts, hot, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({completion.text for completion in first}) > 1
    nucleus = model.complete(prompts, Sampling(40, temperature=3.0, top_p=1e-6), 1)
    assert nucleus == model.complete(prompts, Sampling(40), 0)


def test_several_seeds_are_their_runs_in_one_folder(settings, model, tmp_path):
    hot = {"temperature": 1.5, "samples": 2, "ratios": (0.2, "policy")}
    results, _ = run(settings(**hot, seeds=(3, 1)), tmp_path / "both", backend=model)
    both = _rows(tmp_path / "both")
    assert [condition["ratio"] for condition in results["conditions"]] == [0.2, "policy"]
    assert [condition["samples"] for condition in results["conditions"]] == [4, 4]
    for seed in (3, 1):
        run(settings(**hot, seeds=(seed,)), tmp_path / str(seed), backend=model)
        assert [row for row in both if row["seed"] == seed] == _rows(tmp_path / str(seed))
    assert json.loads((tmp_path / "both" / "manifest.json").read_text("utf-8"))["settings"]["seeds"] == [3, 1]
    assert len({row["key"] for row in both}) == len(both) == 128


def test_other_ratios_of_a_run_change_no_sample(settings, model, tmp_path):
    """A key holds what decides the text of a completion, and nothing else."""
    run(settings(temperature=1.5, ratios=(0.2,)), tmp_path / "one", backend=model)
    run(settings(temperature=1.5, ratios=("policy", 0.2)), tmp_path / "two", backend=model)
    assert [row for row in _rows(tmp_path / "two") if row["ratio"] == 0.2] == _rows(tmp_path / "one")


def test_the_token_limit_is_reported_and_unclosed_thinking_counts_to_the_end(settings, model, tmp_path):
    run(settings(max_tokens=4), tmp_path / "r", backend=model)
    for row in _rows(tmp_path / "r"):
        assert (row["finish_reason"], row["truncated"], row["completion_tokens"]) == ("length", True, 4)
        assert (row["verdict"], row["thinking_tokens"]) == ("no_answer", 3)


def test_repeating_a_finished_run_does_nothing_and_other_settings_are_refused(settings, model, tmp_path):
    folder = tmp_path / "r"
    run(settings(), folder, backend=model)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert run(settings(), folder)[1]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    with pytest.raises(DataError, match=r"max_tokens was 40, is 30; seeds was \[0\], is \[3\]"):
        run(settings(max_tokens=30, seeds=(3,)), folder, backend=model)
    results, was_done = run(settings(max_tokens=30, seeds=(3,)), folder, backend=model, overwrite=True)
    assert not was_done
    assert results["conditions"][0]["n"] == 16


def test_a_killed_run_ends_like_an_undisturbed_one(settings, model, tiny_model, problems, tmp_path):
    options = {"ratios": (None, "policy"), "samples": 6, "temperature": 1.5, "batch_size": 5, "seeds": (7,)}
    run(settings(**options), tmp_path / "whole", backend=model)
    command = [
        sys.executable, "-m", "math_eval.cli", "run", "--model", str(tiny_model), "--tasks", str(problems),
        "--ratio", "none", "--ratio", "policy", "--samples", "6", "--temperature", "1.5", "--batch-size", "5",
        "--seed", "7", "--max-tokens", "40", "--instruction", "", "--output-dir", str(tmp_path / "killed"),
    ]  # fmt: skip
    partial = tmp_path / "killed" / "samples_sums.partial.jsonl"
    code = "import sys; from math_eval.cli import cli; cli(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, *command[3:]], stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and (not partial.exists() or partial.stat().st_size < 20_000):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "results.json").exists()
    with pytest.raises(DataError, match="not finished"):
        load_run(tmp_path / "killed")
    lines = partial.read_bytes().splitlines(keepends=True)
    partial.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    run(settings(**options), tmp_path / "killed", backend=model)
    assert _rows(tmp_path / "killed") == _rows(tmp_path / "whole")
    assert _results(tmp_path / "killed") == _results(tmp_path / "whole")
    assert not partial.exists()


def test_nothing_is_left_of_a_run_that_was_killed_at_its_end(settings, model, tmp_path):
    folder = tmp_path / "r"
    run(settings(), folder, backend=model)
    done = sorted(tmp_path.rglob("*"))
    shutil.copy(folder / "samples_sums.jsonl", folder / "samples_sums.partial.jsonl")
    (tmp_path / ".r.0.lock").touch()
    assert run(settings(), folder)[1]
    assert sorted(tmp_path.rglob("*")) == done


def test_two_processes_cannot_write_one_run(settings, model, tmp_path):
    folder = tmp_path / "r"
    with locked(folder), pytest.raises(DataError, match="r: another process is writing it"):
        run(settings(), folder, backend=model)


def test_the_output_of_another_program_is_never_replaced(settings, model, tmp_path):
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"command": "chrpo train", "settings": {}}')
    with pytest.raises(DataError, match="written by chrpo train, not by math-eval run"):
        run(settings(), folder, backend=model, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]


def test_the_run_folder_may_be_an_argument_but_is_named_once(tiny_model, problems, tmp_path):
    command = ["run", "--model", str(tiny_model), "--tasks", str(problems), "--limit", "1", "--max-tokens", "4"]
    folder = str(tmp_path / "r")
    assert CliRunner().invoke(cli, [*command, folder]).exit_code == 0
    assert "nothing to do" in CliRunner().invoke(cli, [*command, "--output-dir", folder]).stderr
    for names in ([], [folder, "--output-dir", folder]):
        refused = CliRunner().invoke(cli, [*command, *names])
        assert (refused.exit_code, "name one run folder, with --output-dir" in refused.stderr) == (2, True)


def test_a_file_in_place_of_the_run_folder_is_named_before_a_model_is_loaded(settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: is a file; name a folder"):
        run(settings, tmp_path / "file")


def test_more_conditions_than_results_may_list_are_refused_before_a_model_is_loaded(settings, tmp_path):
    schema = json.loads((files("math_eval._shared") / "schemas" / "results.schema.json").read_text("utf-8"))
    most = schema["properties"]["conditions"]["maxItems"]
    tasks = [tmp_path / f"{number}.jsonl" for number in range(most // 3 + 1)]
    for task in tasks:
        task.write_text(json.dumps({"id": task.stem, "question": "add 1 and 1", "answer": "2"}) + "\n", "utf-8")
    with pytest.raises(DataError, match=f"334 tasks at 3 ratios are more than {most:,} conditions; make several runs"):
        run(settings(tasks=tuple(map(str, tasks)), ratios=(None, 0.2, "policy")), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_resumed_run_on_another_stack_is_refused(settings, model, tmp_path):
    folder = tmp_path / "r"
    run(settings(), folder, backend=model)
    (folder / "results.json").unlink()
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["environment"]["torch"] = "1.0"
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(DataError, match=r"another environment \(torch was '1\.0', is "):
        run(settings(), folder, backend=model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ratio", "0.3"], "no control token for ratio 0.3; it knows 0.2, 1 and policy"),
        (["--ratio", "20"], "ratio must be policy, none or a number in [0, 1]; got '20'"),
        (["--samples", "2"], "2 samples at temperature 0 are all the same"),
        (["--seed", "0", "--seed", "1"], "2 samples at temperature 0 are all the same"),
        (["--seed", "1", "--seed", "1", "--temperature", "1"], "seed 1 is given twice"),
        (
            [part for seed in range(1001) for part in ("--seed", str(seed))] + ["--temperature", "1"],
            "1,001 values of --seed",
        ),
        (["--tensor-parallel", "2"], "are for --backend vllm"),
        (["--requests-per-minute", "60"], "--requests-per-minute is for servers"),
        (["--max-tokens", "500"], "exceeds the model's context of 128"),
        (["--top-p", "0"], "top-p must be in (0, 1]; got 0"),
        (["--tasks", "gsm8k"], "--data-dir"),
        (["--model", "nowhere"], "no such model folder"),
        (["--model", "nowhere", "--tasks", "gsm8k"], "no such model folder"),
    ],
)
def test_bad_requests_are_one_clear_line_and_leave_nothing(tiny_model, problems, tmp_path, arguments, message):
    plain = ["run", "--model", str(tiny_model), "--tasks", str(problems), "--output-dir", str(tmp_path / "r")]
    result = CliRunner().invoke(cli, [*plain, *arguments])
    assert result.exit_code == 2, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("choice", [("--backend", "tgi", "transformers"), ("--extraction", "first", "standard")])
def test_a_word_that_is_no_choice_is_refused_with_the_choices(tiny_model, problems, tmp_path, choice):
    option, word, known = choice
    plain = ["run", "--model", str(tiny_model), "--tasks", str(problems), "--output-dir", str(tmp_path / "r")]
    result = CliRunner().invoke(cli, [*plain, option, word])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': '{word}' is not one of '{known}', " in result.stderr


def test_a_ratio_needs_a_checkpoint_that_follows_one(tiny_model, problems, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in tiny_model.iterdir():
        if path.name != "control_tokens.json":
            os.link(path, bare / path.name)
    command = ["run", "--model", str(bare), "--tasks", str(problems), "--output-dir", str(tmp_path / "r"), "--ratio"]
    result = CliRunner().invoke(cli, [*command, "policy"])
    assert (result.exit_code, "control_tokens.json: no such file" in result.stderr) == (2, True)


def _copy(source, target, leave_out=()):
    target.mkdir()
    for path in source.iterdir():
        if path.name not in leave_out:
            (target / path.name).write_bytes(path.read_bytes())
    return target


def test_a_control_token_that_the_tokenizer_does_not_have_is_named(tiny_model, problems, tmp_path):
    other = _copy(tiny_model, tmp_path / "other")
    ladder = {"format": 1, "ratios": {"<COMP_20>": 0.2, "<COMP_50>": 0.5}, "policy": "<COMP_POLICY>"}
    (other / "control_tokens.json").write_text(json.dumps(ladder), "utf-8")
    plain = ["run", "--tasks", str(problems), "--output-dir", str(tmp_path / "r"), "--ratio", "0.5"]
    server = ["--model", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--tokenizer", str(other)]
    for model in (["--model", str(other)], server):
        refused = CliRunner().invoke(cli, [*plain, *model])
        assert (refused.exit_code, "no single token <COMP_50>" in refused.stderr) == (2, True), refused.output
    assert not (tmp_path / "r").exists()


def test_a_checkpoint_without_tokenizer_is_refused(tiny_model, problems, tmp_path):
    bare = _copy(tiny_model, tmp_path / "bare", leave_out=("tokenizer.json", "tokenizer_config.json"))
    command = ["run", "--model", str(bare), "--tasks", str(problems), "--output-dir", str(tmp_path / "r")]
    refused = CliRunner().invoke(cli, command)
    assert (refused.exit_code, "bare: no tokenizer in it" in refused.stderr) == (2, True), refused.output


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_an_engine_that_is_not_installed_is_named_with_its_extra(tiny_model, problems, tmp_path, monkeypatch, engine):
    monkeypatch.setitem(sys.modules, "transformers", None)
    arguments = ["--model", str(tiny_model), "--tasks", str(problems), "--backend", engine]
    result = CliRunner().invoke(cli, ["run", *arguments, "--output-dir", str(tmp_path / "run")])
    wanted = f"error: transformers is not installed; run: pip install 'cot-math-eval[{engine}]'\n"
    assert (result.exit_code, result.stderr, list(tmp_path.glob("*"))) == (2, wanted, [])


def test_pickle_weights_are_refused(tiny_model, problems, tmp_path):
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    command = ["run", "--model", str(pickled), "--tasks", str(problems), "--output-dir", str(tmp_path / "r")]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2
    assert "only pickle weights (pytorch_model.bin)" in result.stderr
    assert not (tmp_path / "r").exists()


def test_a_tokenizer_without_template_gets_the_plain_turn(tiny_model, tmp_path):
    from math_eval.backends.hf import HFModel

    plain = _copy(tiny_model, tmp_path / "plain", leave_out=("chat_template.jinja",))
    config = json.loads((plain / "tokenizer_config.json").read_text("utf-8"))
    config.pop("chat_template", None)
    (plain / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    assert HFModel(plain).render(["add 1 and 2"]) == ["add 1 and 2\n"]
