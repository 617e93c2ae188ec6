r"""The program of a grading process: reads one job from each line and writes one result, until its input ends.

`pool` starts it as `python -P -m math_eval.grading.worker MEMORY_BYTES`. Between jobs it keeps only a cache of parsed
expressions, because the same reference answer often returns. A job that exceeds its processor time ends the whole
process: the timer's signal has no handler, so no library can catch it. math-verify gets only LaTeX that `reading` wrote
from a complete tree, because sympy's parser of plain expressions evaluates strings as Python.

    -> {"answer": "2\\sqrt{2}", "gold": "\\sqrt{8}", "letters": [[], []], "seconds": 5}
    <- {"verdict": "correct", "detail": "math-verify finds them equal"}
"""

# pyright: basic
import json
import logging
import math
import os
import resource
import signal
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any


def _limit(kind: int, soft: int) -> None:
    """Lower a resource limit, if the system has it."""
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


@lru_cache(maxsize=512)
def _read(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse
    from math_verify.parser import NormalizationConfig

    as_written = NormalizationConfig(basic_latex=True, units=False, malformed_operators=False, nits=False, boxed="all",
                                     equations=False)  # fmt: skip
    found = parse(
        rf"\boxed{{{text}}}",
        [LatexExtractionConfig(boxed_match_priority=0, normalization_config=as_written)],
        fallback_mode="no_fallback",
        parsing_timeout=None,  # type: ignore[arg-type]
    )
    return [value for value in found if not isinstance(value, str)]


def _dropped(letters: list[str], values: list[Any]) -> str:
    """The first letter that math-verify lost while it read an answer, or an empty string."""
    from sympy import Symbol

    kept = {str(symbol)[0] for value in values for symbol in getattr(value, "atoms", lambda *_: set())(Symbol)}
    return next((letter for letter in letters if letter[0] not in kept), "")


def _exactly_different(one: Any, two: Any) -> bool:
    """Whether both are exact numbers that differ within 40 digits; math-verify rounds to six."""
    from sympy import Expr, Float, nan

    if not (isinstance(one, Expr) and isinstance(two, Expr)) or not (one.is_number and two.is_number):
        return False
    if one.has(Float) or two.has(Float):
        return False
    difference = (one - two).doit()
    if difference.has(nan):
        return False
    value = difference.evalf(50)
    scale = max(abs(one.doit().evalf(50)), abs(two.doit().evalf(50)))
    return bool(value.is_number and abs(value) > scale * 10**-40)


def verify_pair(answer: str, gold: str, letters: list[list[str]] | None = None) -> tuple[str, str]:
    """The verdict of math-verify on one pair and its detail; exact numbers are compared exactly.

    Args:
        answer: LaTeX of an answer that was read completely.
        gold: LaTeX of the reference answer, read completely, too.
        letters: Letters of both; an answer without one of its letters is not called correct.
    """
    from math_verify import verify

    golds = _read(gold)
    if not golds:
        return "gold_unparsable", f"math-verify cannot read the reference answer {gold[:80]!r}"
    answers = _read(answer)
    if not answers:
        return "incorrect", "math-verify cannot read the answer"
    if not verify(golds, answers, timeout_seconds=None):
        return "incorrect", "math-verify finds them different"
    for found, own in zip((answers, golds), letters or [], strict=False):
        if lost := _dropped(own, found):
            return "incorrect", f"math-verify drops {lost}"
    different = _exactly_different(golds[0], answers[0])
    return ("incorrect", "exact values differ") if different else ("correct", "math-verify finds them equal")


def _answer(job: dict[str, Any]) -> dict[str, str]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + job["seconds"]) + 1)
    signal.setitimer(signal.ITIMER_PROF, job["seconds"])
    try:
        verdict, detail = verify_pair(job["answer"], job["gold"], job.get("letters"))
    except MemoryError:
        verdict, detail = "limit", "out of memory"
    except RecursionError:
        verdict, detail = "limit", "nested too deeply"
    except Exception as error:
        verdict, detail = "error", f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return {"verdict": verdict, "detail": detail}


def main() -> None:
    """Serve jobs from standard input; output of libraries is discarded, so that it cannot corrupt the results."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    _limit(resource.RLIMIT_AS, int(sys.argv[1]))
    _limit(resource.RLIMIT_CORE, 0)
    logging.disable(logging.CRITICAL)
    verify_pair("x", "x + 1")
    answers.write('{"ready": true}\n')
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
