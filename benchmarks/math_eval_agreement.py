r"""Agreement of graders with labels: real graded completions, the public cases of other graders, and public reports.

CHECKOUTS is a folder with git checkouts of huggingface/Math-Verify, huggingface/lighteval, NVIDIA/NeMo-Skills,
UKGovernmentBEIS/inspect_ai, QwenLM/Qwen2.5-Math and openai/grade-school-math under their names; nothing is copied
from them. DATA has cases/math_eval.jsonl, inputs made after public bug reports. What is missing is skipped and named.
math-verify and TRL's accuracy reward grade the same items with their documented defaults, except that time-outs are
off: they count wall time, so a busy machine would change verdicts.

    python benchmarks/math_eval_agreement.py CHECKOUTS --data DATA --misses
"""

import argparse
import ast
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from recording import record

from math_eval import Grader


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


def ours(items: list[Item]) -> list[bool]:
    """The verdicts of math-eval."""
    with Grader() as grader:
        return [verdict.correct for verdict in grader.grade_many([(one.completion, one.gold) for one in items])]


def math_verify(items: list[Item]) -> list[bool]:
    """The verdicts of math-verify, called as its README does; a gold without delimiters gets dollar signs."""
    from math_verify import parse, verify

    return [
        bool(
            verify(
                parse(_delimited(item.gold), parsing_timeout=None),
                parse(item.completion, parsing_timeout=None),
                timeout_seconds=None,
            )
        )
        for item in items
    ]


def trl_reward(items: list[Item]) -> list[bool]:
    """The verdicts of TRL's accuracy reward, which has no time-outs outside of the main thread."""
    from trl.rewards.accuracy_rewards import accuracy_reward

    completions = [[{"role": "assistant", "content": item.completion}] for item in items]
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(accuracy_reward, completions, [_delimited(item.gold) for item in items]).result()
    return [reward == 1.0 for reward in found]


def _delimited(gold: str) -> str:
    return gold if re.search(r"\$|\\boxed|\\[(\[]", gold) else f"${gold}$"


GRADERS: dict[str, Callable[[list[Item]], list[bool]]] = {
    "math-eval": ours,
    "math-verify": math_verify,
    "TRL's accuracy_reward": trl_reward,
}


def score(items: list[Item], grade: Callable[[list[Item]], list[bool]]) -> tuple[dict[str, float], list[bool]]:
    """Agreement, wrong `correct`, right refused and items per second of one grader, and its verdicts."""
    grade(items[:2])
    start = time.perf_counter()
    verdicts = grade(items)
    seconds = time.perf_counter() - start
    pairs = [(verdict, item.correct) for verdict, item in zip(verdicts, items, strict=True)]
    return {
        "agree": sum(one == two for one, two in pairs),
        "wrong": sum(one and not two for one, two in pairs),
        "refused": sum(two and not one for one, two in pairs),
        "per_second": len(items) / seconds,
    }, verdicts


def tables(result: dict[str, Any]) -> str:
    """One row for each source and grader."""
    lines = [
        "| items | n | grader | agrees | wrong `correct` | right refused | items/s |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        for index, (name, found) in enumerate(row["graders"].items()):
            head = [row["items"], str(row["n"])] if index == 0 else ["", ""]
            cells = [*head, name, f"{found['agree']} ({found['agree'] / row['n']:.1%})", str(found["wrong"])]
            lines.append(f"| {' | '.join([*cells, str(found['refused']), format(found['per_second'], ',.0f')])} |")
    return "\n".join(lines + [f"| {name} | skipped: not there | | | | | |" for name in result["skipped"]])


def main() -> None:
    """Grade every source with every grader, and print the misses of math-eval on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="?", type=Path, default=Path("checkouts"))
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("DATA") or "data"), help="Folder of data files."
    )
    parser.add_argument("--misses", action="store_true", help="Print each item whose verdict differs from its label.")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    for name, read in SOURCES.items():
        try:
            items = list(read(options.data if read is reports else options.checkouts))
        except FileNotFoundError:
            skipped.append(name)
            continue
        found: dict[str, dict[str, float]] = {}
        for grader, grade in GRADERS.items():
            found[grader], verdicts = score(items, grade)
            if options.misses and grade is ours:
                _print_misses(name, items, verdicts)
        rows.append({"items": name, "n": len(items), "graders": found})
    record(__file__, {"rows": rows, "skipped": skipped}, tables)


def _print_misses(name: str, items: list[Item], verdicts: list[bool]) -> None:
    for item, verdict in zip(items, verdicts, strict=True):
        if verdict != item.correct:
            should = "correct" if item.correct else "not"
            print(f"{name}: should be {should}: {item.completion[-160:]!r} against {item.gold[-120:]!r}")


if __name__ == "__main__":
    main()
