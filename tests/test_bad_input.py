"""Bad input to every command: one clear line that says what is wrong and what to do, exit code 2, nothing left."""

import json
import pickle
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import edit_json


@dataclass(frozen=True)
class Reader:
    """A command that reads a JSON Lines file.

    `good` is a sound file of the pipeline (or rows), `field` one of its fields with a value of a wrong type. `at` is
    where the command looks for the file; `{work}` is a scratch folder, `{data}` the pipeline's.
    """

    command: str
    good: str | list[dict]
    field: str
    wrong: object
    at: str = "{work}/in.jsonl"
    setup: str | None = None
    """A folder of the pipeline to copy to `{work}/run` first."""


GRADED = [{"id": "a", "gold": "5", "completion": r"\boxed{5}"}, {"id": "b", "gold": "6", "completion": "six"}]
READERS = {
    "run": Reader(
        "math-eval run --model {data}/base --tasks {file} --output-dir {out}", "problems.jsonl", "answer", 27
    ),
    "grade": Reader("math-eval grade {file} {out}", GRADED, "gold", 5),
    "export": Reader(
        "math-eval export traces {work}/run {out}",
        "run_base/samples_problems.jsonl",
        "completion",
        None,
        at="{work}/run/samples_problems.jsonl",
        setup="run_base",
    ),
    "compare": Reader(
        "math-eval compare {data}/run_chrpo:policy {work}/run --output {out}.json",
        "run_base/samples_problems.jsonl",
        "thinking_tokens",
        -1,
        at="{work}/run/samples_problems.jsonl",
        setup="run_base",
    ),
    "report": Reader(
        "math-eval report {work}/run --output {out}.html",
        "run_base/samples_problems.jsonl",
        "verdict",
        "fine",
        at="{work}/run/samples_problems.jsonl",
        setup="run_base",
    ),
    "annotate": Reader("cot-compressor annotate {file} {out}", "traces.jsonl", "cot", None),
    "train-compressor": Reader(
        "cot-compressor train {file} {out} --encoder {data}/encoder", "annotated.jsonl", "keep", "all"
    ),
    "compress": Reader(
        "cot-compressor compress {file} {out} --ratio 0.5 --tokenizer {data}/base", "traces.jsonl", "cot", 5
    ),
    "evaluate": Reader(
        "cot-compressor evaluate {file} {out} --ratio 0.5 --tokenizer {data}/base", "traces.jsonl", "cot", 5
    ),
    "build": Reader("ratio-sft build {file} {out} --tolerance 0.1", "compressed.jsonl", "correct", "yes"),
    "build-teacher": Reader(
        "ratio-sft build {data}/compressed.jsonl {out} --tolerance 0.1 --teacher {file}",
        "prompts.jsonl",
        "teacher_ratio",
        20,
    ),
    "train-sft": Reader(
        "ratio-sft train {work} {out} --model {data}/base --max-steps 1",
        "mix/train.jsonl",
        "ratio",
        "0.2",
        at="{work}/train.jsonl",
    ),
    "prepare": Reader(
        "chrpo prepare {file} {out} --checkpoint {data}/sft", "run_sft/samples_problems.jsonl", "verdict", True
    ),
    "train-rl": Reader(
        "chrpo train {file} {out} --model {data}/sft --max-steps 1 --prompts-per-step 1 --rollouts 6",
        "prompts.jsonl",
        "reference_tokens",
        0,
    ),
}


class Scratch:
    """An empty folder to run in, with what may be there afterwards."""

    def __init__(self, folder: Path, data: Path, command) -> None:
        self.work, self.data, self._command = folder / "work", data, command
        self.work.mkdir()
        self.out = folder / "outputs" / "out"
        self.out.parent.mkdir()

    def fill(self, line: str, **names) -> str:
        return line.format(work=self.work, data=self.data, out=self.out, **names)

    def refuse(self, line: str, **names) -> str:
        """Run a command that must refuse; returns its one line."""
        before = self.listing()
        done = self._command(self.fill(line, **names))
        assert done.exit_code == 2, f"exit code {done.exit_code}\n{done.output}"
        # A progress bar is overwritten in place: what is seen of a line stands behind its last carriage return.
        seen = [last for text in done.stderr.split("\n") if (last := text.split("\r")[-1].strip())]
        seen = [line for line in seen if not line.startswith(("thinking format: ", "no control tokens: ", "note: "))]
        if seen[0].startswith("Usage: "):
            assert re.match(r"Usage: .+\nTry .+ --help' for help.\n\nError: .+\n$", done.stderr), done.stderr
            return seen[-1]
        assert len(seen) == 1, done.stderr
        assert seen[0].startswith("error: "), done.stderr
        assert "Traceback" not in done.output
        assert re.search(r"[;:,?] |\. ", seen[0].removeprefix("error: ")), f"no remedy in {seen[0]!r}"
        assert self.listing() == before
        return seen[0]

    def listing(self) -> list[str]:
        folder = self.out.parent.parent
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def scratch(tmp_path, pipeline, command):
    return Scratch(tmp_path, pipeline.folder, command)


@pytest.fixture(params=READERS)
def reader(request, scratch, pipeline):
    """(Reader, rows of its sound file, path where it looks for the file)."""
    chosen = READERS[request.param]
    rows = pipeline.rows(chosen.good) if isinstance(chosen.good, str) else chosen.good
    if chosen.setup:
        shutil.copytree(pipeline / chosen.setup, scratch.work / "run")
    return chosen, rows, Path(scratch.fill(chosen.at))


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


# --- files --------------------------------------------------------------------------------------------------------


def test_a_missing_file(reader, scratch):
    chosen, _, path = reader
    path.unlink(missing_ok=True)
    message = scratch.refuse(chosen.command, file=path)
    assert str(path) in message
    assert re.search("no such file|neither a task nor a file", message)


def test_an_empty_file(reader, scratch):
    chosen, _, path = reader
    path.write_text("\n\n")
    message = scratch.refuse(chosen.command, file=path)
    assert f"{path}: no rows; expected JSON Lines" in message


def test_an_incomplete_file(reader, scratch):
    chosen, rows, path = reader
    path.write_text(lines(rows)[:-20])
    message = scratch.refuse(chosen.command, file=path)
    assert f"{path}:{len(rows)}: not JSON" in message
    assert "is the file incomplete or not JSON Lines?" in message


def test_a_field_of_a_wrong_type(reader, scratch):
    chosen, rows, path = reader
    path.write_text(lines([*rows[:-1], {**rows[-1], chosen.field: chosen.wrong}]))
    message = scratch.refuse(chosen.command, file=path)
    assert f"{path}:{len(rows)}: {chosen.field}: got {json.dumps(chosen.wrong)}; expected" in message


def test_a_missing_field(reader, scratch):
    chosen, rows, path = reader
    path.write_text(lines([{name: value for name, value in rows[0].items() if name != chosen.field}, *rows[1:]]))
    message = scratch.refuse(chosen.command, file=path)
    assert f"{path}:1: {chosen.field}: field '{chosen.field}' is missing; add it" in message


def test_a_row_that_is_no_object(reader, scratch):
    chosen, rows, path = reader
    path.write_text(lines(rows[:1]) + '["not", "an", "object"]\n')
    message = scratch.refuse(chosen.command, file=path)
    assert f"{path}:2: " in message


def test_a_file_that_is_not_text(reader, scratch):
    chosen, _, path = reader
    path.write_bytes(b'{"id": "\xff\xfe"}\n')
    message = scratch.refuse(chosen.command, file=path)
    assert str(path) in message
    assert "is it incomplete, or not UTF-8 text?" in message


# --- ratios -------------------------------------------------------------------------------------------------------

RATIO_COMMANDS = {
    "compress": "cot-compressor compress {data}/traces.jsonl {out} --tokenizer {data}/base --ratio",
    "evaluate": "cot-compressor evaluate {data}/traces.jsonl {out} --tokenizer {data}/base --ratio",
    "build": "ratio-sft build {data}/compressed.jsonl {out} --tolerance 0.1 --ratio",
    "run": "math-eval run --model {data}/sft --tasks {data}/problems.jsonl --output-dir {out} --ratio",
}


@pytest.mark.parametrize("ratio", ["0", "1.5", "20", "-0.2", "nan"])
@pytest.mark.parametrize("name", RATIO_COMMANDS)
def test_a_ratio_out_of_range(scratch, name, ratio):
    message = scratch.refuse(f"{RATIO_COMMANDS[name]} {ratio}")
    if ratio == "0" and name in {"build", "run"}:
        assert {"build": "at least one ratio above 0", "run": "it knows 0.2, 0.6, 1"}[name] in message
        return
    assert ratio in message
    assert ("in [0, 1]" if name in {"build", "run"} else "in (0, 1]") in message


@pytest.mark.parametrize("name", RATIO_COMMANDS)
def test_a_ratio_that_is_no_number(scratch, name):
    message = scratch.refuse(f"{RATIO_COMMANDS[name]} short")
    assert "'short'" in message


def test_a_ratio_that_the_checkpoint_was_not_taught(scratch):
    message = scratch.refuse(f"{RATIO_COMMANDS['run']} 0.3")
    assert "0.3; it knows 0.2, 0.6, 1 and policy" in message


def test_a_ratio_that_no_trace_has(scratch):
    message = scratch.refuse(f"{RATIO_COMMANDS['build']} 0.3")
    assert "no trace has ratio 0.3; compress with --ratio 0.3" in message


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--policy-share", "2"), ("--confidence", "0.2"), ("--threshold", "7")],
)
def test_a_share_out_of_range(scratch, flag, value):
    line = "chrpo prepare {data}/run_sft/samples_problems.jsonl {out} --checkpoint {data}/sft"
    assert value in scratch.refuse(f"{line} {flag} {value}")


# --- control tokens -----------------------------------------------------------------------------------------------

FOLLOWS_RATIOS = {
    "run": "math-eval run --model {model} --tasks {data}/problems.jsonl --ratio 0.2 --output-dir {out}",
    "prepare": "chrpo prepare {data}/run_sft/samples_problems.jsonl {out} --checkpoint {model}",
    "train-rl": "chrpo train {data}/prompts.jsonl {out} --model {model} --max-steps 1 --prompts-per-step 1"
    " --rollouts 6",
}


def test_a_checkpoint_without_control_tokens_follows_no_ratio(scratch):
    message = scratch.refuse(FOLLOWS_RATIOS["run"], model=scratch.data / "base")
    assert "base/control_tokens.json: no such file" in message
    assert "train it with ratio-sft" in message


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("prepare", "sample it without --ratio"), ("train-rl", "is for a model with control tokens")],
)
def test_files_with_ratios_do_not_fit_a_checkpoint_without_control_tokens(scratch, name, complaint):
    assert complaint in scratch.refuse(FOLLOWS_RATIOS[name], model=scratch.data / "base")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"format": 1, "ratios"', "not JSON"),
        ('{"format": 1, "ratios": {"<COMP_20>": 20}, "policy": "<COMP_POLICY>"}', "got 20; expected"),
        ('{"format": 1, "ratios": {"<COMP_20>": 0.2}}', "field 'policy' is missing"),
        ('{"format": 2, "ratios": {"<COMP_20>": 0.2}, "policy": "<COMP_POLICY>"}', "format: got 2"),
    ],
)
@pytest.mark.parametrize("name", FOLLOWS_RATIOS)
def test_bad_control_tokens(scratch, name, content, complaint):
    shutil.copytree(scratch.data / "sft", scratch.work / "sft")
    path = scratch.work / "sft/control_tokens.json"
    path.write_text(content)
    message = scratch.refuse(FOLLOWS_RATIOS[name], model=path.parent)
    assert str(path) in message
    assert complaint in message


def test_an_unknown_control_token_in_an_sft_row(scratch, pipeline):
    rows = pipeline.rows("mix/train.jsonl")
    rows[1]["completion"][0]["content"] = rows[1]["completion"][0]["content"].replace("<COMP_", "<COMP_9")
    (scratch.work / "train.jsonl").write_text(lines(rows))
    message = scratch.refuse("ratio-sft train {work} {out} --model {data}/sft --max-steps 1")
    assert f"{scratch.work}/train.jsonl:2: completion: opens with '<COMP_9" in message
    assert "<COMP_20>, <COMP_60>, <COMP_100>, <COMP_POLICY>" in message


def test_an_unknown_control_token_in_a_prompt(scratch, pipeline):
    rows = pipeline.rows("prompts.jsonl")
    rows[1]["prompt"][-1]["content"] = rows[1]["prompt"][-1]["content"].replace("<COMP_POLICY>", "<COMP_AUTO>")
    path = scratch.work / "prompts.jsonl"
    path.write_text(lines(rows))
    message = scratch.refuse(
        "chrpo train {work}/prompts.jsonl {out} --model {data}/sft --max-steps 1 --prompts-per-step 1 --rollouts 6"
    )
    assert "<COMP_AUTO>" in message
    assert "<COMP_POLICY>" in message
    assert f"{path}:2: " in message


@pytest.mark.parametrize("rollouts", ["2", "0"])
def test_rollouts_that_do_not_cover_the_ladder(scratch, rollouts):
    line = "chrpo train {data}/prompts.jsonl {out} --model {data}/sft --max-steps 1 --prompts-per-step 1"
    assert f" {rollouts}" in scratch.refuse(f"{line} --rollouts {rollouts}")


def test_samples_of_another_ladder(scratch, pipeline):
    rows = pipeline.rows("run_sft/samples_problems.jsonl")
    (scratch.work / "in.jsonl").write_text(lines([row for row in rows if row["ratio"] != 0.6]))
    message = scratch.refuse("chrpo prepare {work}/in.jsonl {out} --checkpoint {data}/sft")
    assert "in.jsonl" in message
    assert "sample the whole ladder" in message


# --- model folders ------------------------------------------------------------------------------------------------

LOADS_A_MODEL = {
    "run": ("base", "math-eval run --model {model} --tasks {data}/problems.jsonl --output-dir {out}"),
    "train-sft": ("base", "ratio-sft train {data}/mix {out} --model {model} --max-steps 1"),
    "train-rl": (
        "sft",
        "chrpo train {data}/prompts.jsonl {out} --model {model} --max-steps 1 --prompts-per-step 1 --rollouts 6",
    ),
    "merge-before": ("sft", "chrpo merge {model} {data}/chrpo {out}"),
    "merge-after": ("chrpo", "chrpo merge {data}/sft {model} {out}"),
    "train-compressor": (
        "compressor",
        "cot-compressor train {data}/annotated.jsonl {out} --encoder {model} --epochs 1",
    ),
    "compress": (
        "compressor",
        "cot-compressor compress {data}/traces.jsonl {out} --ratio 0.5 --tokenizer {data}/base --scorer {model}",
    ),
}


class Trap:
    """Unpickled, it writes a file; so opening it is seen."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.pt"])
@pytest.mark.parametrize("name", LOADS_A_MODEL)
def test_a_model_folder_with_pickled_weights_only(scratch, tmp_path, name, weights):
    kind, line = LOADS_A_MODEL[name]
    folder = scratch.work / "model"
    shutil.copytree(scratch.data / kind, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    sprung = tmp_path / "sprung"
    (folder / weights).write_bytes(pickle.dumps(Trap(sprung)))
    message = scratch.refuse(line, model=folder)
    assert not sprung.exists()
    assert str(folder) in message
    assert weights in message
    assert "safetensors" in message


@pytest.mark.parametrize("name", LOADS_A_MODEL)
def test_a_missing_model_folder(scratch, name):
    folder = scratch.work / "nowhere"
    assert str(folder) in scratch.refuse(LOADS_A_MODEL[name][1], model=folder)


@pytest.mark.parametrize("name", LOADS_A_MODEL)
def test_torn_weights(scratch, name):
    kind, line = LOADS_A_MODEL[name]
    folder = scratch.work / "model"
    shutil.copytree(scratch.data / kind, folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    message = scratch.refuse(line, model=folder)
    assert str(folder) in message


@pytest.mark.parametrize("token", ["eos_token", "pad_token"])
@pytest.mark.parametrize("name", LOADS_A_MODEL)
def test_an_end_or_padding_token_that_the_model_lacks(scratch, name, token):
    kind, line = LOADS_A_MODEL[name]
    folder = scratch.work / "model"
    shutil.copytree(scratch.data / kind, folder)
    edit_json(folder / "tokenizer_config.json", **{token: "<lost>"})
    assert f"{folder}: {token} '<lost>' has id" in scratch.refuse(line, model=folder)


@pytest.mark.parametrize("name", ["run", "train-sft", "train-rl"])
def test_a_chat_template_that_renders_nothing(scratch, name):
    kind, line = LOADS_A_MODEL[name]
    folder = scratch.work / "model"
    shutil.copytree(scratch.data / kind, folder)
    (folder / "chat_template.jinja").write_text("{# nothing #}")
    assert f"{folder}: chat template: renders an empty prompt; mend it" in scratch.refuse(line, model=folder)


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
@pytest.mark.parametrize("name", ["compress", "evaluate"])
def test_a_folder_without_a_tokenizer(scratch, name, folder):
    (scratch.work / "empty").mkdir()
    line = "cot-compressor {name} {data}/traces.jsonl {out} --ratio 0.5 --tokenizer {work}/{folder}"
    message = scratch.refuse(line, name=name, folder=folder)
    assert str(scratch.work / folder) in message
    assert "tokenizer.json" in message
