"""The quickstart's problems and stage runner; the commands that it runs are tested in their packages."""

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(path: Path):
    """An example's script as a module, with its folder importable as it is when run."""
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


problems = load(EXAMPLES / "quickstart/problems.py")
base_model = load(EXAMPLES / "quickstart/base_model.py")


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
