r"""The grader: extract the answer, check limits, decide by exact arithmetic, and leave the rest to the pool.

>>> with Grader() as grader:
...     [verdict.verdict for verdict in grader.grade_many([(r"\boxed{\frac{2}{4}}", "0.5"), ("no idea", "7")])]
['correct', 'no_answer']
"""

import atexit
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from importlib.metadata import version

from math_eval._shared.thinking import OPEN
from math_eval.errors import DataError

from . import limits
from .exact import decide
from .extract import extract_answer, extract_reference, reference_answer
from .pool import Pool
from .shapes import sequence
from .spelling import normalise
from .verdict import Verdict

EXTRACTIONS = ("standard", "reference")
_DEADLINE_S = 5.0
_MEMORY_BYTES = 2 * 2**30


class Grader:
    """Grades completions. Any thread may use it; no process is started until an answer needs algebra.

    Args:
        workers: Maximum number of grading processes; None takes the number of processors, at most four.
        deadline_s: Processor time in seconds that one answer may take in a worker.
        memory_bytes: Address space of one worker.
        extraction: Rule that finds the answer: `standard`, or `reference` for that of the Extra-CoT paper's evaluation
            script.

    Raises:
        DataError: The extraction is unknown.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        deadline_s: float = _DEADLINE_S,
        memory_bytes: int = _MEMORY_BYTES,
        extraction: str = "standard",
    ) -> None:
        if extraction not in EXTRACTIONS:
            raise DataError(f"extraction must be one of {', '.join(EXTRACTIONS)}; got {extraction!r}")
        self._workers = workers or min(4, os.cpu_count() or 1)
        self._extraction = extraction
        self._settings = {"deadline_s": deadline_s, "memory_bytes": memory_bytes, "extraction": extraction}
        self._pool = Pool(self._workers, deadline_s, memory_bytes)

    @property
    def description(self) -> dict[str, object]:
        """The settings and versions that decide the verdicts, for a manifest."""
        return {"name": "math-eval", "math_verify": version("math-verify"), **self._settings}

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the grading processes that wait for a job."""
        return self._pool.worker_pids

    def grade(self, completion: str, gold: str, prompt: str = "") -> Verdict:
        """Grade one completion.

        Args:
            completion: All generated text, thinking included.
            gold: The reference answer as LaTeX or plain text, or a solution with the answer in a box or after `####`.
            prompt: The rendered prompt; if it ends in `<think>`, the completion begins inside the thinking block.
        """
        start = time.perf_counter()
        gold = reference_answer(gold)
        verdict, answer = self._quick(completion, gold, prompt)
        if verdict is None:
            verdict = Verdict(*self._ask(answer, gold))
        return replace(verdict, grade_ms=round(1e3 * (time.perf_counter() - start), 3))

    def _ask(self, answer: str, gold: str) -> tuple[str, str, str]:
        name, detail = self._pool.ask(answer, gold)
        return name, answer, detail

    def grade_many(self, items: Iterable[tuple[str, str] | tuple[str, str, str]]) -> list[Verdict]:
        """Grade items (completion, gold) or (completion, gold, prompt), several at once; verdicts keep the order."""
        with ThreadPoolExecutor(self._workers) as threads:
            return list(threads.map(self._grade_item, items))

    def _grade_item(self, item: tuple[str, str] | tuple[str, str, str]) -> Verdict:
        return self.grade(*item)

    def _quick(self, completion: str, gold: str, prompt: str) -> tuple[Verdict | None, str]:
        """The verdict that needs no parser; otherwise None, and the answer that a worker has to compare."""
        if len(completion) > limits.MAX_COMPLETION_CHARS:
            detail = f"a completion of more than {limits.MAX_COMPLETION_CHARS} characters"
            return Verdict("limit", None, detail), ""
        if reason := limits.too_much(gold):
            return Verdict("gold_unparsable", None, f"the reference answer has {reason}"), ""
        if not (spelt := normalise(gold)):
            return Verdict("gold_unparsable", None, "the reference answer is empty"), ""
        if self._extraction == "reference":
            answer = extract_reference(completion)
        elif completion.strip() == gold.strip() and not prompt.rstrip().endswith(OPEN):
            return Verdict("correct", gold.strip()), ""
        else:
            listed = sequence(spelt)
            answer = extract_answer(completion, prompt, len(listed.parts) if listed and not listed.brackets else 1)
        if answer is None:
            return Verdict("no_answer", None), ""
        if reason := limits.too_much(answer):
            return Verdict("limit", answer[:200], reason), ""
        equal = decide(answer, gold)
        if equal is not None:
            return Verdict("correct" if equal else "incorrect", answer), ""
        return None, answer

    def close(self) -> None:
        """End the grading processes."""
        self._pool.close()

    def __enter__(self) -> "Grader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def _shared() -> Grader:
    grader = Grader()
    atexit.register(grader.close)
    return grader


def grade(completion: str, gold: str, prompt: str = "") -> Verdict:
    """Grade one completion with a grader that the whole process shares.

    Args:
        completion: All generated text, thinking included.
        gold: The reference answer as LaTeX or plain text, or a solution with the answer in a box or after `####`.
        prompt: The rendered prompt; if it ends in `<think>`, the completion begins inside the thinking block.
    """
    return _shared().grade(completion, gold, prompt)
