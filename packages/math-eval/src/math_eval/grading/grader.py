r"""The grader: extract the answer, check limits, read and compare, and leave what is not decided to the pool.

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

from math_eval.equality import POLICIES
from math_eval.errors import DataError
from math_eval.reading import read
from math_eval.reading.tree import Tree, names
from math_eval.reading.writer import Unwritable, latex

from . import limits
from .decide import decide
from .extract import extract_answer, extract_reference, reference_answer
from .final_text import opens_thinking
from .pool import Pool
from .statements import first_correct
from .verdict import Verdict

EXTRACTIONS = ("standard", "reference")
_DEADLINE_S = 5.0
_MEMORY_BYTES = 2 * 2**30
_MAX_SHOWN = 200


class Grader:
    """Grades completions. Any thread may use it; no process is started until an answer needs algebra.

    Args:
        workers: Maximum number of grading processes; None takes the number of processors, at most four.
        deadline_s: Processor time in seconds that one answer may take in a worker.
        memory_bytes: Address space of one worker.
        extraction: Rule that finds the answer: `standard`, or `reference` for that of the Extra-CoT paper's evaluation
            script.
        policy: What reasonable people judge differently: `strict`, `default` or `lenient`.

    Raises:
        DataError: The extraction or the policy is unknown.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        deadline_s: float = _DEADLINE_S,
        memory_bytes: int = _MEMORY_BYTES,
        extraction: str = "standard",
        policy: str = "default",
    ) -> None:
        if extraction not in EXTRACTIONS:
            raise DataError(f"extraction must be one of {', '.join(EXTRACTIONS)}; got {extraction!r}")
        if policy not in POLICIES:
            raise DataError(f"policy must be one of {', '.join(POLICIES)}; got {policy!r}")
        self._workers = workers or min(4, os.cpu_count() or 1)
        self._extraction = extraction
        self._settings = {
            "deadline_s": deadline_s,
            "memory_bytes": memory_bytes,
            "extraction": extraction,
            "policy": policy,
        }
        self._policy = POLICIES[policy]
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
        verdict = self._verdict(completion, reference_answer(gold), prompt)
        return replace(verdict, grade_ms=round(1e3 * (time.perf_counter() - start), 3))

    def grade_many(self, items: Iterable[tuple[str, str] | tuple[str, str, str]]) -> list[Verdict]:
        """Grade items (completion, gold) or (completion, gold, prompt), several at once; verdicts keep the order."""
        with ThreadPoolExecutor(self._workers) as threads:
            return list(threads.map(self._grade_item, items))

    def first_correct(self, thinking: str, gold: str) -> int | None:
        """The number of characters of a thinking text up to the end of the first statement of the correct answer.

        None if no sentence states it; see `statements` for what counts. No grading process is asked.

        Args:
            thinking: Text of the thinking, without tags.
            gold: The reference answer, as for `grade`.
        """
        wanted = reference_answer(gold)
        parts, _ = _requested(wanted)
        return first_correct(thinking, wanted, parts, self._policy)

    def _grade_item(self, item: tuple[str, str] | tuple[str, str, str]) -> Verdict:
        return self.grade(*item)

    def _verdict(self, completion: str, gold: str, prompt: str) -> Verdict:
        if len(completion) > limits.MAX_COMPLETION_CHARS:
            return Verdict("limit", None, f"a completion of more than {limits.MAX_COMPLETION_CHARS} characters")
        if not gold.strip():
            return Verdict("gold_unparsable", None, "the reference answer is empty")
        if self._extraction == "reference":
            answer = extract_reference(completion)
        elif completion.strip() == gold.strip() and not opens_thinking(prompt):
            return Verdict("correct", gold.strip(), "the completion is the reference answer")
        else:
            parts, ordered = _requested(gold)
            answer = extract_answer(completion, prompt, parts, ordered=ordered)
        if answer is None:
            return Verdict("no_answer", None, "no answer is found after the thinking")
        if answer.split() == gold.split():
            return Verdict("correct", answer, "both are spelt alike")
        if reason := limits.too_much(gold):
            return Verdict("gold_unparsable", answer[:_MAX_SHOWN], f"the reference answer has {reason}")
        if reason := limits.too_much(answer):
            return Verdict("limit", answer[:_MAX_SHOWN], reason)
        return self._compared(answer, gold)

    def _compared(self, answer: str, gold: str) -> Verdict:
        """The verdict on an answer and a reference answer that are small enough to be read."""
        try:
            decision = decide(answer, gold, self._policy)
        except RecursionError:
            return Verdict("limit", answer[:_MAX_SHOWN], "nested too deeply")
        except Exception as error:  # one answer must not end a run; the verdict is counted
            return Verdict("error", answer[:_MAX_SHOWN], f"{type(error).__name__}: {str(error)[:_MAX_SHOWN]}")
        if decision.equal is True or decision.compared:
            return Verdict("correct" if decision.equal else "incorrect", answer, decision.why)
        if reason := limits.explosive(answer):
            return Verdict("limit", answer[:_MAX_SHOWN], reason)
        if reason := limits.explosive(gold):
            return Verdict("gold_unparsable", answer, f"the reference answer has {reason}")
        if decision.equal is False:
            return Verdict("incorrect" if decision.gold_read else "gold_unparsable", answer, decision.why)
        return self._ask(answer, gold, decision.why)

    def _ask(self, answer: str, gold: str, why: str) -> Verdict:
        """The verdict of math-verify on what was read completely; `incorrect` if it is no expression."""
        one, two = read(answer).tree, read(gold).tree
        assert one is not None
        assert two is not None
        try:
            pair = latex(one), latex(two)
        except Unwritable:
            return Verdict("incorrect", answer, why)
        verdict, detail = self._pool.ask(*pair, letters=(_letters(one), _letters(two)))
        return Verdict(verdict, answer, f"{why}; {detail}")

    def close(self) -> None:
        """End the grading processes."""
        self._pool.close()

    def __enter__(self) -> "Grader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _requested(gold: str) -> tuple[int, bool]:
    """The number of answers that a reference answer asks for, and whether they are a tuple."""
    if limits.too_much(gold):
        return 1, False
    tree = read(gold).tree
    if tree is None or tree.kind not in ("list", "tuple", "set", "plusminus"):
        return 1, False
    return (2, False) if tree.kind == "plusminus" else (len(tree.parts), tree.kind == "tuple")


def _letters(tree: Tree) -> list[str]:
    """Letters that a parser must keep: those of one character but constants and differentials."""
    return sorted(letter for letter in names(tree) if len(letter) == 1 and letter.isascii() and letter not in "eid")


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
