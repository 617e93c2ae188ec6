r"""Grading as a whole: extract, limit, decide exactly, and ask the pool about the rest.

with Grader() as grader:
    grader.grade(r"\boxed{\frac{2}{4}}", "0.5")                         # Verdict('correct', '\\frac{2}{4}')
    grader.grade_many([("The answer is 7.", "7"), ("no idea", "7")])    # [Verdict('correct', '7'), …]
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
    """Grades completions; usable from any thread, and cheap until an answer needs algebra.

    Args:
        workers: grading processes that may run at once; as many as there are processors by default, four at most.
        deadline_s: seconds of processor time one answer may take in a worker.
        memory_bytes: address space of one worker.
        extraction: `standard`, or `reference` for the answers that the evaluation script of the Extra-CoT paper finds.

    Raises:
        DataError: an unknown extraction.
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
        """What a manifest must hold for its verdicts to be reproduced."""
        return {"name": "math-eval", "math_verify": version("math-verify"), **self._settings}

    def grade(self, completion: str, gold: str, prompt: str = "") -> Verdict:
        """Grade one completion.

        Args:
            completion: all generated text, thinking included.
            gold: the reference answer, as LaTeX or plain text; of a solution, the box or what follows `####` counts.
            prompt: the rendered prompt; one that ends in `<think>` opens the thinking block.
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
        """Grade (completion, gold) or (completion, gold, prompt) items, several at once in workers; order is kept."""
        with ThreadPoolExecutor(self._workers) as threads:
            return list(threads.map(self._grade_item, items))

    def _grade_item(self, item: tuple[str, str] | tuple[str, str, str]) -> Verdict:
        return self.grade(*item)

    def _quick(self, completion: str, gold: str, prompt: str) -> tuple[Verdict | None, str]:
        """What needs no parser, or None and the answer to ask a worker about."""
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
            asked = sequence(spelt)
            answer = extract_answer(completion, prompt, len(asked.parts) if asked and not asked.brackets else 1)
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
    """Grade one completion with a grader shared by the whole process; see `Grader.grade`."""
    return _shared().grade(completion, gold, prompt)
