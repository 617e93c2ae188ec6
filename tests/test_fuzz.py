"""Damaged files for every command: exit code 0, 1 or 2, one line that names the file, and no traceback.

A case takes the sound files of the pipeline, damages one of them, and runs the command in this process. Everything is
drawn from seeds, so a failure names a case that fails again. A package adds its commands to `TARGETS`.
"""

import json
import random
import re
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from math_eval import Grader


@dataclass(frozen=True)
class Target:
    """A command, the files that it reads, and how many damaged ones it gets.

    In `command`, `{work}` is the folder that `copied` (names in the pipeline's folder) is copied to, `{data}` the
    pipeline's folder and `{out}` an output that is not there. `files` are damaged, one at a time. A command that reads
    a `finished` output finds what its undisturbed call wrote.
    """

    command: str
    copied: tuple[str, ...]
    files: tuple[str, ...]
    cases: int
    finished: bool = False


RUN_FILES = ("run_base/manifest.json", "run_base/samples_problems.jsonl")
MODEL_FILES = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")
TARGETS = {
    "grade": Target("math-eval grade {work}/graded.jsonl {out}", ("graded.jsonl",), ("graded.jsonl",), 300),
    "grade-run": Target("math-eval grade {work}/run_base {out}", ("run_base",), RUN_FILES, 150),
    "export": Target("math-eval export traces {work}/run_base {out}", ("run_base",), RUN_FILES, 250),
    "compare": Target("math-eval compare {work}/run_base {work}/run_base", ("run_base",), RUN_FILES, 150),
    "report": Target("math-eval report {work}/run_base --output {out}.html", ("run_base",), RUN_FILES, 100),
    "tasks": Target(
        "math-eval run --model {data}/base --tasks {work}/mine.toml --max-tokens 1 --limit 1 {work}/finished",
        ("mine.toml", "problems.jsonl"),
        ("mine.toml", "problems.jsonl"),
        150,
        finished=True,
    ),
    "finished-run": Target(
        "math-eval run --model {work}/sft --tasks {data}/problems.jsonl --ratio 0.2 --max-tokens 1 --limit 1"
        " {work}/finished",
        ("sft",),
        ("finished/manifest.json", "finished/results.json", "sft/control_tokens.json"),
        100,
        finished=True,
    ),
    "finished-grade": Target(
        "math-eval grade {work}/graded.jsonl {work}/finished",
        ("graded.jsonl",),
        ("finished", "finished.manifest.json"),
        150,
        finished=True,
    ),
    "model": Target(
        "math-eval run --model {work}/base --tasks {data}/problems.jsonl --max-tokens 1 --limit 1 {out}",
        ("base",),
        tuple(f"base/{name}" for name in MODEL_FILES),
        40,
    ),
    "annotate": Target(
        "cot-compressor annotate {work}/traces.jsonl {out} --annotator rules",
        ("traces.jsonl",),
        ("traces.jsonl",),
        200,
    ),
    "compress": Target(
        "cot-compressor compress {work}/traces.jsonl {out} --ratio 0.5 --scorer rules --tokenizer {data}/base",
        ("traces.jsonl",),
        ("traces.jsonl",),
        100,
    ),
    "build": Target(
        "ratio-sft build {work}/compressed.jsonl {out} --tolerance 0.1",
        ("compressed.jsonl",),
        ("compressed.jsonl",),
        200,
    ),
    "prepare": Target(
        "chrpo prepare {work}/samples_problems.jsonl {out} --checkpoint {work}/sft",
        ("run_sft/samples_problems.jsonl", "sft"),
        ("samples_problems.jsonl", "sft/control_tokens.json"),
        150,
    ),
}
GRADED = [
    {"id": "a", "gold": "5", "completion": r"<think>2 + 3</think> \boxed{5}", "note": [1, {"a": None}]},
    {"id": "b", "gold": r"\frac{1}{2}", "completion": r"it is \boxed{0.5}"},
    {"id": "c", "gold": "6", "completion": "six"},
]
TASK = """
name = "mine"
problems = "problems.jsonl"
keep = ["level"]
fields = {id = "id", question = ["question"], answer = "answer"}
"""

WRONG = [
    None,
    True,
    -1,
    0,
    0.5,
    10**400,
    -(10**30),
    1e308,
    "",
    "x" * 5000,
    "\x1b[31m\x07\x9b\u202e\n",
    "\ud800",
    "../../../etc/passwd",
    "/dev/zero",
    [],
    {},
    [[[[]]]],
    {"a": {"b": [None]}},
    ["a", 1, None],
]


def places(value, path=()):
    """The path of every value inside a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in list(items)[:40]:
        yield from places(inner, (*path, name))


def replaced(value, path, draw):
    """A JSON value with a wrong one at a path, or without what is there, or with its name changed."""
    if not path:
        return draw.choice(WRONG)
    holder = value
    for name in path[:-1]:
        holder = holder[name]
    kind = draw.randrange(4)
    if kind == 0:
        del holder[path[-1]]
    elif kind == 1 and isinstance(holder, dict):
        holder[f"{path[-1]}\x1b"] = holder.pop(path[-1])
    else:
        holder[path[-1]] = draw.choice(WRONG)
    return value


def damage_values(content, draw):
    """One value of a JSON document, or of one of its lines, replaced; other content is damaged byte by byte."""
    lines = content.splitlines(keepends=True)
    whole = draw.randrange(len(lines)) if lines and lines[0].rstrip().endswith(b"}") else None
    text = content if whole is None else lines[whole]
    try:
        value = json.loads(text)
    except ValueError:
        return damage_bytes(content, draw)
    changed = json.dumps(replaced(value, draw.choice(list(places(value))), draw)).encode()
    return changed if whole is None else b"".join([*lines[:whole], changed + b"\n", *lines[whole + 1 :]])


def damage_bytes(content, draw):
    damaged = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if damaged:
            damaged[draw.randrange(len(damaged))] = draw.choice((draw.randrange(256), *b'{}[]",:\n0e\\\x00\xff'))
    return bytes(damaged)


def damage_pieces(content, draw):
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    return draw.choice(
        (
            content[:start],
            content[start:],
            content[:start] + content[end:],
            content + content[start:end],
            content[:start] + content[start:end] * 2 + content[end:],
        )
    )


def damage_wholly(content, draw):
    return draw.choice(
        (
            b"",
            b"\n\n",
            b"null",
            b"5\n",
            b"[" * 100_000,
            b'{"a": ' * 50_000,
            b"\x00" * 100,
            b"\xef\xbb\xbf" + content,
            content.decode("utf-8", "replace").encode("utf-16"),
            content.replace(b"\n", b"\r"),
            draw.randbytes(500),
            b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
            b"PK\x03\x04" + draw.randbytes(100),
        )
    )


DAMAGES = (damage_values, damage_values, damage_values, damage_bytes, damage_pieces, damage_wholly)


@pytest.fixture(scope="module")
def sound(pipeline, tmp_path_factory):
    """The pipeline's files, and those of this module."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "graded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GRADED), "utf-8")
    (folder / "mine.toml").write_text(TASK, "utf-8")
    return lambda name: folder / name if (folder / name).exists() else pipeline / name


class KeptGrader(Grader):
    """A grader whose processes outlive the command that uses it, because starting them takes most of a case's time."""

    end = Grader.close

    def close(self):
        """Keep the processes."""


@pytest.fixture(scope="module", autouse=True)
def graders():
    """The commands of this module share a grader for each extraction and policy; a new one still judges its names."""
    kept = {}

    def grader(extraction, policy):
        new = KeptGrader(extraction=extraction, policy=policy)
        return kept.setdefault((extraction, policy), new)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("math_eval.grade", "math_eval.run"):
            patch.setattr(import_module(module), "Grader", grader)
        yield
    for each in kept.values():
        each.end()


def complaint(done, work, files):
    """What is wrong with how a command ended, or None; it has to name a file that it reads, or the folder of one."""
    if "Traceback" in done.output or not (done.exception is None or isinstance(done.exception, SystemExit)):
        return f"a traceback: {done.exception!r}\n{done.output}"
    if re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", done.output):
        return f"a control character in {done.output!r}"
    if done.exit_code not in (0, 1, 2):
        return f"exit code {done.exit_code}\n{done.output}"
    if done.exit_code == 0:
        return None
    # A progress bar is overwritten in place: what is seen of a line stands behind its last carriage return.
    told = [text.split("\r")[-1].strip() for text in done.stderr.split("\n")]
    seen = [line for line in told if line and "it/s]" not in line and not line.startswith("thinking format: ")]
    if len(seen) != 1 or not seen[0].startswith("error: "):
        return f"not one line: {done.stderr}"
    named = {str(path) for file in files for path in (work / file, (work / file).parent) if path != work}
    named |= {str(work / "finished")} if (work / "finished").exists() else set()
    return None if any(name in seen[0] for name in named) else f"the file is not named: {seen[0]}"


@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_one_line(name, sound, pipeline, tmp_path, command):
    target, work = TARGETS[name], tmp_path / "work"
    work.mkdir()
    for copied in target.copied:
        copy = shutil.copytree if sound(copied).is_dir() else shutil.copy
        copy(sound(copied), work / Path(copied).name)
    if target.finished:
        done = command(target.command.format(work=work, data=pipeline.folder, out=tmp_path / "none"))
        assert done.exit_code == 0, done.output
    whole = {file: (work / file).read_bytes() for file in target.files}
    wrong = []
    for case in range(target.cases):
        draw = random.Random(f"{name} {case}")
        file = draw.choice(target.files)
        (work / file).write_bytes(draw.choice(DAMAGES)(whole[file], draw))
        out = tmp_path / f"out-{case}"
        done = command(target.command.format(work=work, data=pipeline.folder, out=out))
        if found := complaint(done, work, target.files):
            wrong.append(f"case {case}, {file}: {found}")
        (work / file).write_bytes(whole[file])
        remove_outputs(work, tmp_path)
    assert not wrong, f"{len(wrong)} of {target.cases}:\n" + "\n".join(wrong[:10])


def remove_outputs(work: Path, folder: Path) -> None:
    """Remove what the command wrote beside the files that it reads."""
    for path in [*folder.iterdir(), *work.glob(".*")]:
        if path != work:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
