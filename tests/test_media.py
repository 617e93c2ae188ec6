"""Every command on files whose every text is hostile: none of it acts in a terminal, a page, a table or a spreadsheet.

Texts that a command must understand (verdicts, prompts with their control token) stay; every other one, also in fields
that nothing reads, begins with `EVIL`.
"""

import csv
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import pytest

EVIL = (
    "=cmd|'/C calc'!A0 \x1b[31mred \x1b]0;title\x07 \r\u202e\x9b "
    "<script>alert(1)</script><img src=x onerror=a()>|`[a](b)"
)
WITH_SURROGATES = f"{EVIL}\udcc2\udc9b"
"""Text that only JSON can have, of which Python makes the bytes of a control character in some locales."""
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
REORDERS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
KEPT = {
    *("ratio", "ratios", "chosen_ratio"),
    *(
        "command",
        "verdict",
        "finish_reason",
        "mode",
        "prompt",
        "completion",
        "response",
        "role",
        "content",
        "task",
        "key",
    ),
    *(
        "model_sha256",
        "tasks",
        "backend",
        "extraction",
        "problems",
        "keep",
        "extracted",
        "answer",
        "gold",
        "difficulty",
        "thinking_format",
    ),
}
"""Fields whose values a command must understand."""


def evil(value, words, name=""):
    """A JSON value with these words in front of every text, or behind it where positions in the text count."""
    if name in KEPT:
        return value
    if isinstance(value, dict):
        return {inner: evil(item, words, inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [evil(item, words) for item in value]
    if not isinstance(value, str):
        return value
    return f"{value} {words}" if name == "cot" else f"{words} {value}"


def spoil(path, words):
    if path.suffix == ".json":
        path.write_text(json.dumps(evil(json.loads(path.read_text("utf-8")), words)), "utf-8")
    else:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        path.write_text("".join(json.dumps({**evil(row, words), words: words}) + "\n" for row in rows), "utf-8")


@pytest.fixture(scope="module")
def spoilt(pipeline, tmp_path_factory):
    """A copy of the pipeline's folder whose data files and run folders are hostile; models and prompts are sound."""
    folder = shutil.copytree(pipeline.folder, tmp_path_factory.mktemp("spoilt") / "data")
    names = ("problems", "traces", "annotated", "compressed", "prompts", "mix/train")
    for name in names:
        spoil(folder / f"{name}.jsonl", EVIL)
    for path in folder.glob("run_*/*.json*"):
        spoil(path, WITH_SURROGATES)
    (folder / "mine.toml").write_text(
        'name = "mine"\nproblems = "problems.jsonl"\nfields = {id = "id", question = "question", answer = "answer"}\n'
    )
    (folder / "plain.txt").write_text(f"{EVIL} and so 12 + 15 = 27, I think. {EVIL}", "utf-8")
    return folder


RUN = "math-eval run --model {data}/base --max-tokens 4 --limit 2 {out}"
COMMANDS = {
    "run": f"{RUN} --tasks {{data}}/problems.jsonl",
    "run-task": f"{RUN} --tasks {{data}}/mine.toml",
    "grade": "math-eval grade {data}/run_sft {out}",
    "export": "math-eval export traces {data}/run_base {out}",
    "compare": "math-eval compare {data}/run_base {data}/run_chrpo:policy",
    "report": "math-eval report {data}/run_base {data}/run_sft --by level --output {out}/page.html",
    "report-by": "math-eval report {data}/run_base {data}/run_sft --by question --output {out}/page.html",
    "annotate": "cot-compressor annotate {data}/traces.jsonl {out}/a.jsonl",
    "train-scorer": "cot-compressor train {data}/annotated.jsonl {out} --encoder {data}/encoder --epochs 1",
    "compress": "cot-compressor compress {data}/traces.jsonl {out}/c.jsonl --ratio 0.5 --tokenizer {data}/base",
    "evaluate": "cot-compressor evaluate {data}/traces.jsonl {out} --ratio 0.5 --tokenizer {data}/base",
    "build": "ratio-sft build {data}/compressed.jsonl {out} --tolerance 1 --heldout-share 0.3",
    "train-sft": "ratio-sft train {data}/mix {out} --model {data}/base --max-steps 1",
    "evaluate-sft": "ratio-sft evaluate {data}/run_sft/samples_problems.jsonl --output {out}/page.html",
    "prepare": "chrpo prepare {data}/run_sft/samples_problems.jsonl {out}/p.jsonl --checkpoint {data}/sft",
    "train-rl": "chrpo train {data}/prompts.jsonl {out} --model {data}/sft --max-steps 1 --prompts-per-step 1"
    " --rollouts 6",
    "plot": "chrpo plot {data}/chrpo --output {out}/page.html",
}


class Elements(HTMLParser):
    """The elements of a page, and the names of their attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = Counter()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.update([tag, *(f"{tag} {name}" for name, _ in attributes)])


def complaints(path):
    """What a file for people would do with the hostile texts."""
    text = path.read_bytes().decode("utf-8")
    if path.suffix == ".html":
        found = Elements(text).found
        yield from (name for name in found if name.split()[0] in {"img", "a"} or " on" in name)
        # Scripts of the page itself are in all pages of its command.
        yield from ["a script"] * ("<script>alert" in text)
    elif path.suffix == ".md":
        yield from re.findall(r"<(?:script|img)|\[a\]\(b\)", re.sub(r"`[^`\n]*`", "", text))
        yield from map(repr, ACTS.findall(text))
    elif path.suffix == ".csv":
        cells = [cell for line in csv.reader(text.splitlines(keepends=True)) for cell in line]
        yield from (cell for cell in cells if re.match(r"[=+@\t\r]|-(?![\d.])", cell))
        yield from map(repr, ACTS.findall(text))


@pytest.mark.parametrize("name", COMMANDS)
def test_hostile_texts_act_nowhere(name, spoilt, tmp_path, command):
    out = tmp_path / "out"
    done = command(COMMANDS[name].format(data=spoilt, out=out))
    assert done.exit_code == 0, done.output
    shown = "\n".join(line.split("\r")[-1] for line in done.output.split("\n"))
    assert not ACTS.search(shown), shown
    assert not REORDERS.search(shown), shown
    written = [path for path in tmp_path.rglob("*") if path.suffix in {".html", ".md", ".csv"}]
    wrong = [f"{path.name}: {found}" for path in written for found in complaints(path)]
    assert not wrong, wrong[:10]


def test_hostile_texts_reach_the_files_for_people(spoilt, tmp_path, command):
    """The test above would pass for empty pages: these have the texts, escaped."""
    pages = {"report-by": "page.html page.csv", "evaluate": "report.html", "build": "card.html"}
    for name, files in {**pages, "train-scorer": "README.md"}.items():
        assert command(COMMANDS[name].format(data=spoilt, out=tmp_path / name)).exit_code == 0
        for file in files.split():
            assert "calc" in (tmp_path / name / file).read_text("utf-8"), file


@pytest.mark.parametrize("options", [[], ["--diff"]])
def test_a_plain_text_sends_nothing_to_a_terminal_and_is_unchanged_in_a_pipe(spoilt, options):
    arguments = [sys.executable, "-m", "cot_compressor", "compress", spoilt / "plain.txt", "--ratio", "0.99", *options]
    piped = subprocess.run(arguments, capture_output=True, check=True).stdout.decode("utf-8")
    assert EVIL.split(" <")[0].split("\x1b]")[1] in piped
    reader, writer = pty.openpty()
    process = subprocess.Popen(arguments, stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    seen = b""
    try:
        while part := os.read(reader, 65536):
            seen += part
    except OSError:  # what a terminal gives on Linux when nobody has it open any more
        pass
    os.close(reader)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[\d;]*m", "", seen.decode("utf-8").replace("\r\n", "\n"))
    assert not ACTS.search(text), text
    assert not REORDERS.search(text), text
    assert r"\x1b]0;title\x07" in text
