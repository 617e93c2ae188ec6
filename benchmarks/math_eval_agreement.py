r"""Agreement of graders with labels: real graded completions, the public cases of other graders, and public reports.

CHECKOUTS is a folder with git checkouts of huggingface/Math-Verify, huggingface/lighteval, NVIDIA/NeMo-Skills,
UKGovernmentBEIS/inspect_ai, QwenLM/Qwen2.5-Math and openai/grade-school-math under their names; nothing is copied
from them. DATA has cases/math_eval.jsonl, inputs made after public bug reports. What is missing is skipped and named.
The graders of `math_eval_graders` grade the same items in processes of their own; lighteval and verl need environments
of their own (`--install`), without which they are skipped and named. Time-outs that count wall time are off or long
where that can be set, since a busy machine would change verdicts.

    python benchmarks/math_eval_agreement.py CHECKOUTS --data DATA --misses
"""

import argparse
import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from math_eval_graders import GRADERS
from peers import DEFAULT, environment
from recording import record, spread

_PEERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "lighteval": (("lighteval's extractive match",), ("torch==2.13.0", "lighteval==0.13.0")),
    "verl": (
        ("verl's math_verify", "verl's math_reward"),
        ("torch==2.13.0", "verl==0.9.1", "transformers<5.11", "tensordict<=0.10", "math-verify==0.9.0"),
    ),
}
"""Environments, with their graders and what is installed in them."""


class Item(NamedTuple):
    """A completion, the reference answer, and whether the completion is correct according to its label."""

    completion: str
    gold: str
    correct: bool


def gsm8k(root: Path) -> Iterator[Item]:
    """Completions of four OpenAI models on the GSM8K test problems, with their labels."""
    path = root / "grade-school-math/grade_school_math/data/example_model_solutions.jsonl"
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        gold = row["ground_truth"].rpartition("A:")[2].strip()
        for one in row.values():
            if isinstance(one, dict):
                yield Item(one["solution"], gold, bool(one["is_correct"]))


def math(root: Path) -> Iterator[Item]:
    """Eight completions for each of 100 MATH problems, as the authors of Qwen2.5-Math scored them."""
    path = root / "Qwen2.5-Math/evaluation/data/eval_rm_maj_example/math_cot_100.jsonl"
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        for completion, score in zip(row["code"], row["score"], strict=True):
            yield Item(completion, row["gt"], bool(score))


def inspect(root: Path) -> Iterator[Item]:
    """The cases of inspect_ai's math scorer."""
    for row in json.loads((root / "inspect_ai/tests/scorer/math_cases.json").read_text("utf-8")):
        yield Item(row["output"], row["target"], row["expected"] == "C")


def math_verify_cases(root: Path) -> Iterator[Item]:
    """The cases of math-verify's own tests, with defaults for all options."""
    paths = sorted((root / "Math-Verify/tests").glob("test_*.py"))
    if not paths:
        raise FileNotFoundError(root / "Math-Verify/tests")
    for path in paths:
        yield from _triples(path)


def lighteval(root: Path) -> Iterator[Item]:
    """The cases of lighteval's extractive match, without multiple choice and other languages."""
    yield from _triples(root / "lighteval/tests/unit/metrics/test_extractive_match.py")


def nemo_skills(root: Path) -> Iterator[Item]:
    """The pairs of answers of NeMo-Skills' grader, in boxes, in both orders."""
    for test, names, cases in _parametrized(root / "NeMo-Skills/tests/test_math_equal.py"):
        if names == ["output_pair"]:
            for one, two in cases:
                for answer, gold in ((one, two), (two, one)):
                    yield Item(rf"\boxed{{{answer} }}", str(gold), "incorrect" not in test.name)


def reports(data: Path) -> Iterator[Item]:
    """Inputs made after public bug reports of graders, without those that reasonable people judge differently."""
    for row in map(json.loads, (data / "cases/math_eval.jsonl").read_text("utf-8").splitlines()):
        if not row["policy"]:
            yield Item(row["prediction"], row["gold"], row["expected"])


def _triples(path: Path) -> Iterator[Item]:
    for test, names, cases in _parametrized(path):
        used = ast.unparse(test)
        if names[:2] != ["gold", "pred"] or len(names) != 3 or "NativeLetters" in used:
            continue
        for gold, completion, correct in cases:
            if correct or "['latex']" not in used or _reads_latex(completion):
                yield Item(completion, gold, bool(correct))


def _reads_latex(completion: str) -> bool:
    """Whether math-verify reads LaTeX in the text; if not, a test of LaTeX only is not about equality."""
    from math_verify import LatexExtractionConfig, parse

    return bool(parse(completion, [LatexExtractionConfig(boxed_match_priority=0)], parsing_timeout=None))


def _parametrized(path: Path) -> Iterator[tuple[ast.FunctionDef, list[str], list[tuple[Any, ...]]]]:
    """Each parametrized test with the names and the cases that are literals."""
    for test in ast.walk(ast.parse(path.read_text("utf-8"))):
        for call in test.decorator_list if isinstance(test, ast.FunctionDef) else []:
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "parametrize":
                names = ast.literal_eval(call.args[0])
                cases = call.args[1].elts if isinstance(call.args[1], ast.List) else []
                fields = names.split(",") if isinstance(names, str) else names
                yield test, [name.strip() for name in fields], [case for each in cases for case in _literal(each)]


def _literal(node: ast.expr) -> list[tuple[Any, ...]]:
    with suppress(ValueError):
        return [ast.literal_eval(node)]
    return []


SOURCES = {
    "GSM8K completions, labelled": gsm8k,
    "MATH completions, labelled": math,
    "math-verify's test cases": math_verify_cases,
    "lighteval's test cases": lighteval,
    "NeMo-Skills' test cases": nemo_skills,
    "inspect_ai's math cases": inspect,
    "public bug reports": reports,
}


def processes(peers: Path, install: bool) -> tuple[dict[str, str], list[str]]:
    """The Python of each grader, and the graders that are not installed.

    Args:
        peers: Folder with the environments of lighteval and verl.
        install: Whether these are installed if they are not there.
    """
    pythons = dict.fromkeys(GRADERS, sys.executable)
    missing: list[str] = []
    for name, (grader_names, requirements) in _PEERS.items():
        python = peers / name / "bin" / "python"
        if install:
            python = environment(peers, name, *requirements)
        for grader in grader_names:
            if python.is_file():
                pythons[grader] = str(python)
            else:
                del pythons[grader]
                missing.append(grader)
    return pythons, missing


def graded(python: str, grader: str, sources: dict[str, list[Item]]) -> dict[str, dict[str, Any]]:
    """The verdicts and seconds of one grader on every source, from a process of its own."""
    pairs = {name: [(item.completion, item.gold) for item in items] for name, items in sources.items()}
    command = [python, str(Path(__file__).with_name("math_eval_graders.py")), grader]
    done = subprocess.run(command, input=json.dumps(pairs), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{grader} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def score(items: list[Item], rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Agreement, wrong `correct` and right refused of the first round, and the speed of all rounds."""
    pairs = [(verdict, item.correct) for verdict, item in zip(rounds[0]["verdicts"], items, strict=True)]
    return {
        "agree": sum(one == two for one, two in pairs),
        "wrong": sum(one and not two for one, two in pairs),
        "refused": sum(two and not one for one, two in pairs),
        "per_second": spread([len(items) / one["seconds"] for one in rounds]),
        "processor_ms": spread([1e3 * one["processor_seconds"] / len(items) for one in rounds]),
    }


def tables(result: dict[str, Any]) -> str:
    """One row for each source and grader."""
    lines = [
        "| items | n | grader | agrees | wrong `correct` | right refused | items/s | processor time of an item, ms |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        for index, (name, found) in enumerate(row["graders"].items()):
            head = [row["items"], str(row["n"])] if index == 0 else ["", ""]
            cells = [*head, name, f"{found['agree']} ({found['agree'] / row['n']:.1%})", str(found["wrong"])]
            speed, used = found["per_second"], found["processor_ms"]
            cells += [str(found["refused"]), f"{speed['median']:,.0f} ({speed['low']:,.0f} to {speed['high']:,.0f})"]
            cells.append(format(used["median"], ".2f"))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines + [f"\n{name} is skipped: it is not there." for name in result["skipped"]])


def main() -> None:
    """Grade every source with every grader, and print the misses of math-eval on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="?", type=Path, default=Path("checkouts"))
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("DATA") or "data"), help="Folder of data files."
    )
    parser.add_argument("--peers", type=Path, default=DEFAULT, help="Folder with environments of lighteval and verl.")
    parser.add_argument("--install", action="store_true", help="Install lighteval and verl there.")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds of timing, in which the graders take turns.")
    parser.add_argument("--misses", action="store_true", help="Print each item whose verdict differs from its label.")
    options = parser.parse_args()
    sources: dict[str, list[Item]] = {}
    skipped: list[str] = []
    for name, read in SOURCES.items():
        try:
            sources[name] = list(read(options.data if read is reports else options.checkouts))
        except FileNotFoundError:
            skipped.append(name)
    pythons, missing = processes(options.peers, options.install)
    found: dict[str, list[dict[str, dict[str, Any]]]] = {grader: [] for grader in pythons}
    for turn in range(options.rounds):
        for grader, python in pythons.items():
            print(f"round {turn + 1} of {options.rounds}: {grader}", file=sys.stderr)
            found[grader].append(graded(python, grader, sources))
    rows = [
        {
            "items": name,
            "n": len(items),
            "graders": {grader: score(items, [one[name] for one in rounds]) for grader, rounds in found.items()},
        }
        for name, items in sources.items()
    ]
    if options.misses:
        for name, items in sources.items():
            _print_misses(name, items, found["math-eval"][0][name]["verdicts"])
    record(__file__, {"rows": rows, "rounds": options.rounds, "skipped": skipped + missing}, tables)


def _print_misses(name: str, items: list[Item], verdicts: list[bool]) -> None:
    for item, verdict in zip(items, verdicts, strict=True):
        if verdict != item.correct:
            should = "correct" if item.correct else "not"
            print(f"{name}: should be {should}: {item.completion[-160:]!r} against {item.gold[-120:]!r}")


if __name__ == "__main__":
    main()
