r"""The program of a process that compares two answers with math-verify, within limits of time and memory.

`grader` starts it as `python -P -m chrpo.answer_worker`, writes one pair of answers to each line of its input, and
reads one verdict from each line of its output. Messages of libraries, which quote the answers, are printed nowhere.
Ending a process that hangs is left to `grader`.

    -> ["x+1", "1+x"]
    <- true
"""

import json
import logging
import os
import sys

from math_verify import parse, verify

from ._shared.bounded import limit_memory, silence

MEMORY_BYTES = 2**30
TIME_LIMIT_S = 5
"""Seconds for reading each of two answers, and for their comparison."""


def _same(candidate: str, answer: str) -> bool:
    try:
        gold = parse(rf"\boxed{{{answer}}}", parsing_timeout=TIME_LIMIT_S)
        found = parse(rf"\boxed{{{candidate}}}", parsing_timeout=TIME_LIMIT_S)
        return bool(verify(gold, found, timeout_seconds=TIME_LIMIT_S))
    except (MemoryError, RecursionError):
        return False


def main() -> None:
    """Serve pairs from standard input until it ends; the first line of the output is `ready`."""
    verdicts = os.fdopen(os.dup(1), "w", encoding="ascii")
    silence()
    logging.disable(logging.CRITICAL)
    _same("x", "x + 1")
    limit_memory(MEMORY_BYTES)
    verdicts.write("ready\n")
    verdicts.flush()
    for line in sys.stdin:
        verdicts.write(json.dumps(_same(*json.loads(line))) + "\n")
        verdicts.flush()


if __name__ == "__main__":
    main()
