"""How a grader is called and what it may return: one answer at a time or all at once, async or not, and only a bool.

What is correct is left to the grader itself, `grader` or one's own.

    def share_of_tests(completions: list[str], answers: list[str]) -> list[float]: ...
    share_of_tests.batched = True
    share_of_tests.correct_from = 1.0

>>> grade_answers(lambda completion, answer: completion.endswith(answer), ["It is 7"], ["7"])
[True]
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import Any

import numpy as np

from .errors import ChrpoError, DataError
from .grader import Grader

_SHOWN_CHARS = 80


def grade_answers(grader: Grader, completions: Sequence[str], answers: Sequence[str]) -> list[bool]:
    """Whether each completion is correct.

    A grader is a function (completion, reference answer) -> True if correct. If it is async, the calls run at the same
    time. Two attributes declare other graders:

    - `batched = True`: it takes the list of completions and the list of reference answers, and returns a list.
    - `correct_from`, a number in (0, 1]: it returns partial credit in [0, 1]; from this credit on an answer is correct.
      Our choice: a limit, because the accuracy to keep is a share of right answers.

    Args:
        grader: The grader.
        completions: Texts of completions, each with its thinking block.
        answers: Reference answer of each.

    Raises:
        DataError: `correct_from` is outside (0, 1].
        ChrpoError: the grader raised an error, returned something that is no bool and was not declared, or does not
            have a result for each completion.
    """
    if not completions:
        return []
    batched, limit = getattr(grader, "batched", False), getattr(grader, "correct_from", None)
    if limit is not None and not 0 < limit <= 1:
        raise DataError(
            f"grader {function_name(grader)}: correct_from must be in (0, 1], such as 1 for every test; got {limit:g}"
        )
    pairs = list(zip(completions, answers, strict=True))
    calls = [(list(completions), list(answers))] if batched else pairs
    function: Callable[..., Any] = grader  # which of the kinds it is, its attributes tell
    try:
        found = _gathered(function, calls) if _is_async(function) else (function(*each) for each in calls)
        values = _listed(grader, next(iter(found)), len(pairs)) if batched else found
        return [_verdict(grader, limit, value, *pair) for value, pair in zip(values, pairs, strict=True)]
    except (ChrpoError, MemoryError):
        raise
    except Exception as error:
        raise ChrpoError(f"grader {function_name(grader)} failed: {type(error).__name__}: {error}") from error


def function_name(function: Callable[..., Any]) -> str:
    """Module and name of a function, or of the class of a callable object."""
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _is_async(grader: Callable[..., Any]) -> bool:
    return iscoroutinefunction(grader) or iscoroutinefunction(getattr(grader, "__call__", None))  # noqa: B004


def _gathered(grader: Callable[..., Awaitable[Any]], calls: Sequence[tuple[Any, Any]]) -> list[Any]:
    """The results of calls that run at the same time, in a thread of their own: a notebook has a running loop."""

    async def run() -> list[Any]:
        return await asyncio.gather(*(grader(*each) for each in calls))

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result()


def _listed(grader: Callable[..., Any], found: Any, wanted: int) -> list[Any]:
    values = found.tolist() if isinstance(found, np.ndarray) else found
    if not isinstance(values, list | tuple) or len(values) != wanted:
        shown = f"{len(values)} results" if isinstance(values, list | tuple) else f"{values!r:.{_SHOWN_CHARS}}"
        raise ChrpoError(
            f"grader {function_name(grader)} returned {shown} for {wanted} completions; return a list with one for each"
        )
    return list(values)


def _verdict(grader: Callable[..., Any], limit: float | None, value: Any, completion: str, answer: str) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if limit is not None and isinstance(value, int | float | np.number) and 0 <= value <= 1:
        return bool(value >= limit)
    if iscoroutine(value):
        value.close()
    remedy = "return True or False"
    if isawaitable(value):
        remedy = "define the grader with async def"
    elif limit is not None:
        remedy = "return a credit in [0, 1]"
    elif isinstance(value, int | float | np.number):
        remedy = "return True or False, or declare partial credit: set the grader's attribute correct_from"
    raise ChrpoError(
        f"grader {function_name(grader)} returned {value!r:.{_SHOWN_CHARS}} for the answer "
        f"{completion[-_SHOWN_CHARS:]!r} (reference {answer[:_SHOWN_CHARS]!r}); {remedy}"
    )
