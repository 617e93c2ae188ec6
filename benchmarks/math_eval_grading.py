r"""Grading speed: math-eval against one-by-one math-verify with its time-outs on.

There are three kinds of items: MATH-500 reference answers compared with the next problem's; compared with themselves
in another spelling (`\dfrac` for `\frac`, reversed sums, so that comparing strings is not enough); and real
completions of five models. math-verify gets only the text after the thinking block. Rounds of both graders alternate
in one process, so that a busy machine slows both; math-eval begins each round with running workers and empty caches.
DATA is a folder with math500_test.jsonl and traces_math_train.jsonl.gz as published.

    python benchmarks/math_eval_grading.py DATA
"""

import argparse
import gzip
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recording import record, spread

from math_eval import Grader
from math_eval.grading.decide import decide
from math_eval.grading.extract import extract_answer
from math_eval.reading import read

Pair = tuple[str, str]
_NEEDS_A_WORKER = (r"\boxed{\sin(x)+1}", r"1+\sin(x)")
_PLAIN_SUM = re.compile(r"[^=,(){}\[\]\\]*[-+][^=,(){}\[\]\\]*")


def _respelt(answer: str) -> str:
    """The same answer in another common spelling."""
    if _PLAIN_SUM.fullmatch(answer):
        return "".join(reversed(re.findall(r"[-+][^-+]*", answer if answer[0] in "-+" else f"+{answer}"))).lstrip("+")
    return (
        answer.replace(r"\dfrac", r"\frac")
        .replace(r"\frac", r"\dfrac")
        .replace(r"\left(", "(")
        .replace(r"\right)", ")")
    )


def _completion(answer: str) -> str:
    return rf"<think>Some thought.</think> So the answer is \boxed{{{answer}}}."


def workloads(data: Path) -> dict[str, list[Pair]]:
    """(completion, gold) pairs by kind."""
    golds = [json.loads(line)["answer"] for line in (data / "math500_test.jsonl").read_text("utf-8").splitlines()]
    with gzip.open(data / "traces_math_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        traces = [row for row in map(json.loads, lines) if row["answer"]]
    return {
        "MATH-500 answers, another problem's": [
            (_completion(golds[index - 1]), gold) for index, gold in enumerate(golds)
        ],
        "MATH-500 answers, spelt otherwise": [(_completion(_respelt(gold)), gold) for gold in golds],
        "real completions": [(f"<think>{row['cot']}</think>{row['response']}", row["answer"]) for row in traces],
    }


def _theirs(pairs: list[Pair]) -> list[bool]:
    from math_verify import parse, verify

    return [
        bool(verify(parse(rf"\boxed{{{gold}}}"), parse(completion.rpartition("</think>")[2])))
        for completion, gold in pairs
    ]


def _ours(pairs: list[Pair], clock: Callable[[], float] = time.perf_counter) -> tuple[list[bool], float]:
    """Verdicts and seconds, with running workers and empty caches."""
    with Grader(2) as grader:
        grader.grade_many([_NEEDS_A_WORKER] * 4)
        read.cache_clear()

        start = clock()
        verdicts = [verdict.correct for verdict in grader.grade_many(pairs)]
        return verdicts, clock() - start


def _is_quick(pair: Pair) -> bool:
    answer = extract_answer(pair[0])
    return answer is None or decide(answer, pair[1]).equal is not None


def measure(pairs: list[Pair], rounds: int) -> dict[str, Any]:
    """Items per second of both graders, their ratio within a round, and the disagreements."""
    quick = [pair for pair in pairs if _is_quick(pair)]
    speeds: dict[str, list[float]] = {"math-eval": [], "math-verify": [], "fast path": []}
    differing: list[str] = []
    _theirs(pairs[:20])
    for _ in range(rounds):
        ours, seconds = _ours(pairs)
        start = time.perf_counter()
        theirs = _theirs(pairs)
        speeds["math-verify"].append(len(pairs) / (time.perf_counter() - start))
        speeds["math-eval"].append(len(pairs) / seconds)
        speeds["fast path"].append(len(quick) / _ours(quick, time.process_time)[1])
        differing = [
            f"math-eval {one}, math-verify {two}: {extract_answer(completion)} against {gold}"
            for one, two, (completion, gold) in zip(ours, theirs, pairs, strict=True)
            if one != two
        ]
    ratios = [one / two for one, two in zip(speeds["math-eval"], speeds["math-verify"], strict=True)]
    summary = {name: spread(values) for name, values in {**speeds, "ratio": ratios}.items()}
    return {"n": len(pairs), "quick": len(quick), "disagreements": differing, **summary}


def tables(result: dict[str, Any]) -> str:
    """One row for each kind of item."""
    lines = [
        "| items | n | decided exactly | math-eval, items/s | math-verify, items/s | ratio in a round | fast path, "
        "items/processor s | verdicts that differ |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in result["workloads"].items():
        cells = [name, row["n"], row["quick"]]
        cells += [_range(row[who], 0) for who in ("math-eval", "math-verify")]
        cells += [_range(row["ratio"], 1), _range(row["fast path"], 0), len(row["disagreements"])]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    differing = [text for row in result["workloads"].values() for text in row["disagreements"]]
    return "\n".join(
        [*lines, "", f"Median and range of {result['rounds']} rounds.", *(f"- `{one}`" for one in differing)]
    )


def _range(values: dict[str, float], digits: int) -> str:
    median, low, high = (f"{values[name]:,.{digits}f}" for name in ("median", "low", "high"))
    return f"{median} ({low} to {high})"


def main() -> None:
    """Measure every kind and record it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path(os.environ.get("DATA") or "data"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    measured = {name: measure(pairs, options.rounds) for name, pairs in workloads(options.data).items()}
    record(__file__, {"rounds": options.rounds, "workloads": measured}, tables)


if __name__ == "__main__":
    main()
