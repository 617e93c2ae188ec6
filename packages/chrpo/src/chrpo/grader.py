r"""The default grader of training: whether the final answer of a completion is correct.

Plain numbers and equal strings are compared here. Everything else is left to math-verify, in one process of its own
(`answer_worker`) with limits of time and memory; an answer that passes one is incorrect. No text of a model is run as
code or printed. Any `Grader` can replace this one.

>>> grade(r"<think>1 + 1 = 2</think>So \boxed{1/2}.", "0.5")
True
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from threading import Lock, Timer
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from ._shared.boxed import last_boxed
from ._shared.thinking import split_thinking
from .errors import ChrpoError

Credit = bool | np.bool_ | float
Credits = Sequence[Credit] | npt.NDArray[Any]
Grader = (
    Callable[[str, str], Credit | Awaitable[Credit]] | Callable[[list[str], list[str]], Credits | Awaitable[Credits]]
)
"""Function (completion, reference answer) -> True if the answer is correct, which may be async; or a function of lists
with the attribute `batched`. One that returns partial credit has the attribute `correct_from`. See `grading`."""

_MAX_ANSWER_CHARS = 200
MOST_SECONDS = 20
"""Seconds after which the process that compares answers is ended, should its own limits fail."""
_START_SECONDS = 120
_NUMBER = re.compile(r"([-+]?)(\d{1,40})(?:\.(\d{1,40}))?(?:/(\d{1,40}))?")
_FRACTION = re.compile(r"([-+]?)\\[dt]?frac\{(\d{1,40})\}\{(\d{1,40})\}")
_SPACE = re.compile(r"\\[,!;: ]|\\left|\\right|\\?\$|(?<![\d\s])\s+|\s+(?![\d\s])")
_THOUSANDS = re.compile(r"(?<=\d)[,\s](?=\d{3}(?!\d))")
_COSTLY = re.compile(
    r"""
    (\^|\*\*) [^+\-=,]* (\^|\*\*)
    | (\^|\*\*) [\s+-]* [{(\[] [^})\]]* (\^|\*\*)
    | (\^|\*\*) [\s+-]* \d{3}
    | (\^|\*\*) [\s+-]* [{(\[] (\\[dt]?frac | \\cdot | \\times | [^A-Za-z\\})\]])* \d{3}
    | (\^|\*\*) [\s+-]* \{ [\s+-]* ((\\cdot | \\times | \{,\} | [^A-Za-z\\}+\-=/\d])* \d){3}
    | (\^|\*\*) [\s+-]* [(\[] [\s+-]* ((\\cdot | \\times | \{,\} | [^A-Za-z\\)\]+\-=/\d])* \d){3}
    | ! | \d{41}
    """,
    re.VERBOSE,
)
"""Towers of powers, factorials, and exponents with three digits or more: short to write, and very long to compute."""


def grade(completion: str, answer: str) -> bool:
    """True if the last balanced box after the thinking block contains the reference answer.

    Args:
        completion: Text of the completion, with its thinking block.
        answer: Reference answer.

    Raises:
        ChrpoError: math-verify is needed and not installed.
    """
    found = last_boxed(split_thinking(completion).answer)
    return found is not None and same_answer(found, answer)


def same_answer(candidate: str, answer: str) -> bool:
    """True if two answers are equal as text, as numbers, or according to math-verify."""
    left, right = _plain(candidate), _plain(answer)
    if left == right:
        return bool(left)
    numbers = _number(left), _number(right)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if not left or len(left) > _MAX_ANSWER_CHARS or _COSTLY.search(left):
        return False
    return _verify(candidate, answer)


def _plain(text: str) -> str:
    # Between digits, a space belongs to a mixed number, and a comma in brackets to a pair, unless it parts thousands.
    text = _SPACE.sub("", text).rstrip(".")
    return text if text.startswith(("(", "[")) else _THOUSANDS.sub("", text)


def _number(text: str) -> Fraction | None:
    if match := _FRACTION.fullmatch(text):
        sign, above, below = match.groups()
        decimals = ""
    elif match := _NUMBER.fullmatch(text):
        sign, above, decimals, below = match.groups()
    else:
        return None
    decimals = decimals or ""
    divisor = int(below or 1) * 10 ** len(decimals)
    if not divisor:
        return None
    return Fraction(int(f"{sign}{above}{decimals}"), divisor)


@lru_cache(maxsize=1 << 16)
def _verify(candidate: str, answer: str) -> bool:
    if find_spec("math_verify") is None:
        raise ChrpoError(
            f"grading {candidate!r} against {answer!r} needs math-verify: pip install 'chrpo[trl]', or pass a grader"
        )
    return _WORKER.same(candidate, answer)


class Worker:
    """The process of `answer_worker`, started at its first use, and again if it ended or this process was forked."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self._one_at_a_time = Lock()

    def same(self, candidate: str, answer: str) -> bool:
        """Its verdict; False if it takes longer than its own limits permit, or ends twice.

        Raises:
            ChrpoError: it cannot be started.
        """
        question = json.dumps([candidate, answer]) + "\n"
        with self._one_at_a_time:
            for _ in range(2):
                self.process = self.process or self._start()
                start = monotonic()
                if verdict := self._line(self.process, question, MOST_SECONDS):
                    return verdict == "true\n"
                self._stop(self.process)
                self.process = None
                if monotonic() - start >= MOST_SECONDS:
                    break
        return False

    def _start(self) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.answer_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self._line(process, "", _START_SECONDS) != "ready\n":
            self._stop(process)
            raise ChrpoError(f"math-verify does not start; `python -m {__package__}.answer_worker` shows why")
        return process

    @staticmethod
    def _line(process: "subprocess.Popen[str]", question: str, seconds: float) -> str:
        """The next line of its output; empty if it ended, and after so many seconds it is ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        timer = Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(question)
            process.stdin.flush()
            return process.stdout.readline()
        except OSError:  # it ended before
            return ""
        finally:
            timer.cancel()

    @staticmethod
    def _stop(process: "subprocess.Popen[str]") -> None:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


_WORKER = Worker()
if hasattr(os, "register_at_fork"):
    # A forked copy would read the verdicts of its parent.
    os.register_at_fork(after_in_child=_WORKER.__init__)
