"""The quickstart's problems and stage runner; the commands that it runs are tested in their packages."""

import json
import random
import shlex
import subprocess
import sys
from io import StringIO
from types import SimpleNamespace

import click
import pytest

from cot_compressor.training.annotate_response import ResponseAnnotator

from .example_scripts import EXAMPLES, load_script

problems = load_script("quickstart/problems.py")
base_model = load_script("quickstart/base_model.py")
quickstart = load_script("quickstart/quickstart.py")
stages = load_script("stages.py")


def test_splits_share_no_problem():
    ids = {split: {row["id"] for row in problems.problems(split, 0, 300)} for split in problems.SPLITS}
    assert sum(len(found) for found in ids.values()) == len(set().union(*ids.values())) == 300 * len(ids)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_answer_is_what_its_equations_say(seed):
    for row in problems.problems("test", seed, 300):
        values = [int(word) for word in row["question"].replace(",", " ").replace(".", " ").split() if word.isdigit()]
        value = values[0]
        for equation, operand in zip(row["equations"], values[1:], strict=True):
            left, result = equation.split(" = ")
            first, sign, second = left.split()
            assert (int(first), int(second)) == (value, operand)
            value = value + operand if sign == "+" else value - operand
            assert int(result) == value
        assert row["answer"] == str(value)


def test_what_the_answer_needs_is_12_to_15_percent_of_the_trace():
    tokenizer = base_model.build_tokenizer()
    needed = total = 0
    for row in problems.problems("test", 0, 1000):
        thinking, _ = problems.write_trace(row, random.Random(row["id"]))
        assert all(equation in thinking for equation in row["equations"])
        needed += sum(len(tokenizer(equation).input_ids) for equation in row["equations"])
        total += len(tokenizer(thinking).input_ids)
    assert 0.12 <= needed / total <= 0.15


def test_labels_of_the_compressor_are_the_sentences_with_the_equations_of_the_solution():
    annotator = ResponseAnnotator(keep_share=0.7)
    for row in problems.problems("sft", 0, 200):
        thinking, _ = problems.write_trace(row, random.Random(row["id"]))
        spans = annotator.keep(row["question"], thinking, row["answer"], row["solution"])
        kept = " ".join(thinking[start:end] for start, end in spans)
        stated = [equation in kept for equation in row["equations"]]
        assert all(stated) if "wordy" in row["level"] else any(stated)


def test_the_tokenizer_gives_the_text_back_and_knows_every_word():
    tokenizer = base_model.build_tokenizer()
    for row in problems.problems("test", 3, 200):
        thinking, response = problems.write_trace(row, random.Random(row["id"]))
        text = f"{row['question']}\n<think>\n{thinking}\n</think>\n\n{response}"
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text


def test_a_stage_is_skipped_when_finished_and_repeated_with_all_later_ones_when_changed(tmp_path):
    (tmp_path / "driver.py").write_text(
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "from pathlib import Path\nfrom stages import Stages\n"
        "stages = Stages(Path(sys.argv[1]), [Path(__file__).parent / 'scripts/note.py'])\n"
        "stages.run('1/2', 'first', [str(Path(__file__).parent / 'scripts/note.py'), sys.argv[1], sys.argv[2]])\n"
        "stages.run('2/2', 'second', [str(Path(__file__).parent / 'scripts/note.py'), sys.argv[1], 'b'])\n"
    )
    (tmp_path / "scripts").mkdir()
    note = "import sys\nif sys.argv[2] == 'fail': sys.exit(3)\nopen(sys.argv[1] + '/log', 'a').write(sys.argv[2])\n"
    (tmp_path / "scripts/note.py").write_text(note)
    run = tmp_path / "run"

    def drive(word):
        command = [sys.executable, tmp_path / "driver.py", run, word]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert drive("a").returncode == 0
    assert drive("a").stdout.count("done before") == 2
    assert (run / "log").read_text() == "ab"
    failed = drive("fail")
    assert failed.returncode == 1
    assert "exit code 3" in failed.stderr
    assert json.loads((run / "stages.json").read_text())["first"]["seconds"] is None
    assert drive("a").returncode == 0
    assert (run / "log").read_text() == "aba"
    assert drive("c").returncode == 0
    assert (run / "log").read_text() == "abacb"


def test_a_recipe_asks_before_it_undoes_finished_stages_and_knows_what_changes_nothing(tmp_path, monkeypatch):
    called = []
    done = SimpleNamespace(returncode=0)
    monkeypatch.setattr(stages.subprocess, "run", lambda words, **_: called.append(words[1:]) or done)

    def drive(*lines, answer=""):
        called.clear()
        monkeypatch.setattr(sys, "stdin", StringIO(answer))
        runner = stages.Stages(tmp_path, [], ask=True)
        for number, (command, same_as) in enumerate(lines):
            runner.run(f"{number}", f"stage {number}", shlex.split(command), shlex.split(same_as))

    train = "accelerate launch --num_processes {} -m ratio_sft train mix out --epochs {}"
    drive(("math-eval run --data-parallel 8", "math-eval run"), (train.format(8, 3), train.format(1, 3)))
    assert len(called) == 2
    drive(("math-eval run --data-parallel 4", "math-eval run"), (train.format(4, 3), train.format(1, 3)))
    assert not called, "the same work on other hardware"
    with pytest.raises(click.Abort):
        drive(("math-eval run", "math-eval run"), (train.format(4, 2), train.format(1, 2)))
    assert not called, "nobody said yes"
    drive(("math-eval run", "math-eval run"), (train.format(4, 2), train.format(1, 2)), answer="y\n")
    assert [words[-1] for words in called] == ["--overwrite"], "behind accelerate, too"


@pytest.mark.parametrize(
    ("accuracy", "tokens", "begins"),
    [
        ((0.01, 0.002, 0.018), (-0.01, -0.02, 0.0), "CHRPO was worth its step"),
        ((-0.001, -0.01, 0.008), (0.05, 0.03, 0.07), "CHRPO was worth its step"),
        ((-0.02, -0.03, -0.01), (0.05, 0.03, 0.07), "SFT was enough"),
        ((0.004, -0.004, 0.012), (0.01, -0.01, 0.03), "SFT was enough"),
        ((-0.001, -0.006, 0.003), (0.002, 0.001, 0.003), "SFT was enough"),
    ],
)
def test_rl_is_worth_its_step_only_by_the_paired_intervals(accuracy, tokens, begins):
    found = {
        f"{name}{end}": value
        for name, values in (("accuracy_difference", accuracy), ("token_reduction", tokens))
        for end, value in zip(("", "_low", "_high"), values, strict=True)
    }
    assert quickstart.rl_verdict(found).startswith(begins)


def test_the_sentence_on_rl_gives_the_change_of_tokens_with_its_sign():
    found = {"accuracy_difference": 0.012, "accuracy_difference_low": 0.002, "accuracy_difference_high": 0.022}
    found |= {"token_reduction": 0.05, "token_reduction_low": 0.03, "token_reduction_high": 0.07}
    assert "accuracy +1.2 points (+0.2 to +2.2), thinking tokens -5.0 % (-7.0 to -3.0)" in quickstart.rl_verdict(found)


def test_the_sentence_on_rl_that_changed_nothing_has_no_width_for_tokens():
    found = {"accuracy_difference": 0.0, "accuracy_difference_low": -0.004, "accuracy_difference_high": 0.004}
    found |= {"token_reduction": 0.0, "token_reduction_low": None, "token_reduction_high": None}
    verdict = quickstart.rl_verdict(found)
    assert verdict.startswith("SFT was enough")
    assert "accuracy +0.0 points (-0.4 to +0.4), thinking tokens +0.0 % (+0.0 to +0.0)" in verdict
