r"""Graders and rewards of other projects behind one function each, and the process in which one of them grades.

lighteval and verl need other versions of shared libraries, so each grader runs in a process of the Python that has it.
A process reads {name of a source: [[completion, gold], …]} from standard input and writes, for each source, the
verdicts, the wall time and the processor time with that of its child processes.

    echo '{"one": [["\\boxed{4}", "4"]]}' | python benchmarks/math_eval_graders.py math-verify
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

Pair = tuple[str, str]
"""A completion and the reference answer."""


def ours(pairs: list[Pair]) -> list[bool]:
    """The verdicts of math-eval, one by one."""
    from math_eval import Grader

    with Grader() as grader:
        return [grader.grade(completion, gold).correct for completion, gold in pairs]


def math_verify(pairs: list[Pair]) -> list[bool]:
    """The verdicts of math-verify, called as its README does; a gold without delimiters gets dollar signs."""
    from math_verify import parse, verify

    return [
        bool(
            verify(
                parse(_delimited(gold), parsing_timeout=None),
                parse(completion, parsing_timeout=None),
                timeout_seconds=None,
            )
        )
        for completion, gold in pairs
    ]


def trl_reward(pairs: list[Pair]) -> list[bool]:
    """The verdicts of TRL's accuracy reward, which has no time-outs outside of the main thread."""
    from trl.rewards.accuracy_rewards import accuracy_reward

    completions = [[{"role": "assistant", "content": completion}] for completion, _ in pairs]
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(accuracy_reward, completions, [_delimited(gold) for _, gold in pairs]).result()
    return [reward == 1.0 for reward in found]


def lighteval(pairs: list[Pair]) -> list[bool]:
    """The verdicts of lighteval's extractive match, as its math tasks set it, for golds as expression or LaTeX."""
    from lighteval.metrics.dynamic_metrics import MultilingualExtractiveMatchMetric
    from lighteval.metrics.utils.extractive_match_utils import ExprExtractionConfig, LatexExtractionConfig
    from lighteval.models.model_output import ModelResponse
    from lighteval.tasks.requests import Doc

    metric = MultilingualExtractiveMatchMetric(
        gold_extraction_target=(ExprExtractionConfig(), LatexExtractionConfig()),
        pred_extraction_target=(ExprExtractionConfig(), LatexExtractionConfig(boxed_match_priority=0)),
        precision=5,
        timeout_seconds=60,
    )
    return [
        metric.compute(Doc("", [_delimited(gold)], 0), ModelResponse(text=[completion])) == 1.0
        for completion, gold in pairs
    ]


def verl_math_verify(pairs: list[Pair]) -> list[bool]:
    """The verdicts of verl's reward that calls math-verify."""
    from verl.utils.reward_score.math_verify import compute_score

    return [float(compute_score(completion, gold)) == 1.0 for completion, gold in pairs]


def verl_math_reward(pairs: list[Pair]) -> list[bool]:
    """The verdicts of verl's default reward for MATH: the text of the last box, normalised."""
    from verl.utils.reward_score.math_reward import compute_score

    return [float(compute_score(completion, gold)) == 1.0 for completion, gold in pairs]


def _delimited(gold: str) -> str:
    return gold if re.search(r"\$|\\boxed|\\[(\[]", gold) else f"${gold}$"


GRADERS: dict[str, Callable[[list[Pair]], list[bool]]] = {
    "math-eval": ours,
    "math-verify": math_verify,
    "TRL's accuracy_reward": trl_reward,
    "lighteval's extractive match": lighteval,
    "verl's math_verify": verl_math_verify,
    "verl's math_reward": verl_math_reward,
}


def main() -> None:
    """Grade the sources on standard input with the grader that is named, in order."""
    logging.disable(logging.ERROR)
    grade = GRADERS[sys.argv[1]]
    sources = {name: [(one, two) for one, two in pairs] for name, pairs in json.load(sys.stdin).items()}
    output, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no result
    result: dict[str, Any] = {}
    for name, pairs in sources.items():
        grade(pairs[:2])  # loads what the grader loads at its first use
        start, used = time.perf_counter(), _processor_seconds()
        verdicts = grade(pairs)
        result[name] = {
            "verdicts": verdicts,
            "seconds": time.perf_counter() - start,
            "processor_seconds": _processor_seconds() - used,
        }
    json.dump(result, output)


def _processor_seconds() -> float:
    """Processor time of this process, of its ended child processes and, on Linux, of the living ones."""
    times = os.times()
    living = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text("utf-8").rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                living += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return times.user + times.system + times.children_user + times.children_system + living


if __name__ == "__main__":
    main()
