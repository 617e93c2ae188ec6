r"""Agreement of math-eval's grader with labels: real graded completions and the public cases of other graders.

CHECKOUTS is a folder that holds git checkouts of huggingface/Math-Verify, UKGovernmentBEIS/inspect_ai,
QwenLM/Qwen2.5-Math and openai/grade-school-math under their names; nothing of them is copied here. What is absent is
skipped by name. math-verify grades the same items with its documented defaults,
except that its time-outs are off: they count wall time, so a busy machine would change its verdicts.

    python benchmarks/math_eval_agreement.py CHECKOUTS --misses
"""

import argparse
import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from math_eval import Grader


class Item(NamedTuple):
    """A completion, the reference answer, and whether they should be judged equal."""

    completion: str
    gold: str
    right: bool


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
    """Every (gold, pred, expected) case of math-verify's own tests, as written, defaults for all options."""
    paths = sorted((root / "Math-Verify/tests").glob("test_*.py"))
    if not paths:
        raise FileNotFoundError(root / "Math-Verify/tests")
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "parametrize":
                yield from _parameters(node)


def _parameters(call: ast.Call) -> Iterator[Item]:
    try:
        names, cases = (ast.literal_eval(argument) for argument in call.args)
    except ValueError:
        return
    fields = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    for case in cases if fields[:2] == ["gold", "pred"] and len(fields) == 3 else []:
        gold, completion, right = case
        yield Item(completion, gold, bool(right))


SOURCES = {
    "GSM8K completions, labelled": gsm8k,
    "MATH completions, labelled": math,
    "math-verify's test cases": math_verify_cases,
    "inspect_ai's math cases": inspect,
}


def ours(items: list[Item]) -> list[str]:
    """The verdicts of math-eval."""
    with Grader() as grader:
        return [verdict.verdict for verdict in grader.grade_many([(one.completion, one.gold) for one in items])]


def theirs(items: list[Item]) -> list[str]:
    """The verdicts of math-verify, called as its README does: a bare gold is given its delimiters."""
    from math_verify import parse, verify

    golds = [one.gold if re.search(r"\$|\\boxed|\\[(\[]", one.gold) else f"${one.gold}$" for one in items]
    pairs = zip(golds, items, strict=True)
    equal = [
        verify(parse(gold, parsing_timeout=None), parse(one.completion, parsing_timeout=None), timeout_seconds=None)
        for gold, one in pairs
    ]
    return ["correct" if same else "incorrect" for same in equal]


def _cells(items: list[Item], verdicts: list[str]) -> list[str]:
    right = [verdict == "correct" for verdict in verdicts]
    agree = sum(found == item.right for found, item in zip(right, items, strict=True))
    wrong = sum(found and not item.right for found, item in zip(right, items, strict=True))
    return [f"{agree} ({agree / len(items):.1%})", str(wrong)]


def main() -> None:
    """Print the table, and the misses on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="?", type=Path, default=Path("checkouts"))
    parser.add_argument("--misses", action="store_true", help="print each item that math-eval judges otherwise")
    options = parser.parse_args()
    print("| items | n | math-eval agrees | wrong `correct` | math-verify agrees | wrong `correct` |")
    print("|---|---:|---:|---:|---:|---:|")
    misses: list[str] = []
    for name, read in SOURCES.items():
        try:
            items = list(read(options.checkouts))
        except FileNotFoundError as error:
            print(f"| {name} | skipped: no {error.filename} | | | | |")
            continue
        verdicts = ours(items)
        cells = [name, str(len(items)), *_cells(items, verdicts), *_cells(items, theirs(items))]
        print(f"| {' | '.join(cells)} |", flush=True)
        misses += [
            f"{name}: {verdict}, should be {'correct' if item.right else 'not'}: "
            f"{item.completion[-160:]!r} against {item.gold[-120:]!r}"
            for item, verdict in zip(items, verdicts, strict=True)
            if (verdict == "correct") != item.right
        ]
    if options.misses:
        print("\n".join(misses))


if __name__ == "__main__":
    main()
