"""Grading speed on MATH-500-style answers: math-eval against one-by-one math-verify with its time-outs on.

Items are the MATH-500 reference answers as completions: half against the same answer written otherwise, half against
the next problem's. Rounds of both graders alternate in one process, so that a busy machine slows both.

    python benchmarks/math_eval_grading.py data/math500_test.jsonl
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from math_eval import Grader
from math_eval.grading.exact import decide


def _rewrite(answer: str) -> str:
    """The same answer in another common spelling."""
    return (
        answer.replace(r"\dfrac", r"\frac")
        .replace(r"\frac", r"\dfrac")
        .replace(r"\left(", "(")
        .replace(r"\right)", ")")
    )


def items(path: Path) -> list[tuple[str, str]]:
    """(completion, gold) pairs."""
    golds = [json.loads(line)["answer"] for line in path.read_text("utf-8").splitlines()]
    pairs: list[tuple[str, str]] = []
    for index, gold in enumerate(golds):
        answer = _rewrite(gold) if index % 2 else golds[(index + 1) % len(golds)]
        pairs.append((rf"<think>Some thought.</think> So the answer is \boxed{{{answer}}}.", gold))
    return pairs


def _math_verify(pairs: list[tuple[str, str]]) -> list[bool]:
    from math_verify import parse, verify

    return [bool(verify(parse(rf"\boxed{{{gold}}}"), parse(completion))) for completion, gold in pairs]


def main() -> None:
    """Print items per second of both, round by round, and every disagreement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data/math500_test.jsonl"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not options.data.is_file():
        print(f"skipped: no {options.data}; name the published math500_test.jsonl")
        return
    pairs = items(options.data)
    fast = [pair for pair in pairs if decide(pair[0].partition(r"\boxed{")[2].removesuffix("}."), pair[1]) is not None]
    speeds: dict[str, list[float]] = {"math-eval": [], "math-verify": [], "fast path": []}
    with Grader(2) as grader:
        grader.grade_many(pairs[:20])
        _math_verify(pairs[:20])
        for _ in range(options.rounds):
            start = time.perf_counter()
            ours = [verdict.correct for verdict in grader.grade_many(pairs)]
            between = time.perf_counter()
            theirs = _math_verify(pairs)
            after = time.perf_counter()
            grader.grade_many(fast)
            speeds["math-eval"].append(len(pairs) / (between - start))
            speeds["math-verify"].append(len(pairs) / (after - between))
            speeds["fast path"].append(len(fast) / (time.perf_counter() - after))
    print(f"{len(pairs)} items, {len(fast)} of them on the fast path; items per second, median (all rounds)")
    for name, values in speeds.items():
        rounds = ", ".join(f"{value:.0f}" for value in values)
        print(f"{name}: {statistics.median(values):.0f} ({rounds})")
    ratios = [one / two for one, two in zip(speeds["math-eval"], speeds["math-verify"], strict=True)]
    print(f"ratio: {statistics.median(ratios):.1f} ({', '.join(f'{ratio:.1f}' for ratio in ratios)})")
    for one, two, (completion, gold) in zip(ours, theirs, pairs, strict=True):
        if one != two:
            print(f"math-eval {one}, math-verify {two}: {completion.rpartition('</think>')[2]} against {gold}")


if __name__ == "__main__":
    main()
