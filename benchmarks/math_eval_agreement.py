r"""Agreement of math-eval's grader with labels: real graded completions and the public cases of other graders.

CHECKOUTS is a folder with git checkouts of huggingface/Math-Verify, huggingface/lighteval, NVIDIA/NeMo-Skills,
UKGovernmentBEIS/inspect_ai, QwenLM/Qwen2.5-Math and openai/grade-school-math under their names; nothing is copied
from them. A missing checkout is skipped and named. math-verify grades the same items with its documented defaults,
except that its time-outs are off: they count wall time, so a busy machine would change its verdicts.

    python benchmarks/math_eval_agreement.py CHECKOUTS --misses
"""

import argparse
import ast
import json
import re
from collections.abc import Iterator
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
}


def ours(items: list[Item]) -> list[str]:
    """The verdicts of math-eval."""
    with Grader() as grader:
        return [verdict.verdict for verdict in grader.grade_many([(one.completion, one.gold) for one in items])]


def theirs(items: list[Item]) -> list[str]:
    """The verdicts of math-verify, called as its README does; a gold without delimiters gets dollar signs."""
    from math_verify import parse, verify

    golds = [one.gold if re.search(r"\$|\\boxed|\\[(\[]", one.gold) else f"${one.gold}$" for one in items]
    pairs = zip(golds, items, strict=True)
    equal = [
        verify(parse(gold, parsing_timeout=None), parse(one.completion, parsing_timeout=None), timeout_seconds=None)
        for gold, one in pairs
    ]
    return ["correct" if same else "incorrect" for same in equal]


def _score(items: list[Item], verdicts: list[str]) -> dict[str, int]:
    pairs = [(verdict == "correct", item.correct) for verdict, item in zip(verdicts, items, strict=True)]
    return {"agree": sum(one == two for one, two in pairs), "wrong": sum(one and not two for one, two in pairs)}


def tables(result: dict[str, Any]) -> str:
    """One row for each source."""
    lines = [
        "| items | n | math-eval agrees | wrong `correct` | math-verify agrees | wrong `correct` |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        cells = [row["items"], str(row["n"])]
        for who in ("math-eval", "math-verify"):
            agree, wrong = row[who]["agree"], row[who]["wrong"]
            cells += [f"{agree} ({agree / row['n']:.1%})", str(wrong)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines + [f"| {name} | skipped: no checkout | | | | |" for name in result["skipped"]])


def main() -> None:
    """Grade every source with both graders, and print the misses on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="?", type=Path, default=Path("checkouts"))
    parser.add_argument("--misses", action="store_true", help="Print each item whose verdict differs from its label.")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    for name, read in SOURCES.items():
        try:
            items = list(read(options.checkouts))
        except FileNotFoundError:
            skipped.append(name)
            continue
        verdicts = ours(items)
        scores = {"math-eval": _score(items, verdicts), "math-verify": _score(items, theirs(items))}
        rows.append({"items": name, "n": len(items), **scores})
        for item, verdict in zip(items, verdicts, strict=True):
            if options.misses and (verdict == "correct") != item.correct:
                should = "correct" if item.correct else "not"
                print(f"{name}: {verdict}, should be {should}: {item.completion[-160:]!r} against {item.gold[-120:]!r}")
    record(__file__, {"rows": rows, "skipped": skipped}, tables)


if __name__ == "__main__":
    main()
