"""Calls that come one at a time and are answered together: a batched or async grader gets all answers that wait.

verl's reward workers ask for one rollout at a time. What is called is left to the caller.

    lengths = GatheredCalls(lambda texts: [len(text) for text in texts])
    await asyncio.gather(lengths("a"), lengths("bc"), lengths("d"))     # [1, 2, 1], of one call
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class GatheredCalls(Generic[Item, Result]):
    """A function of a list, called with one item: while a call runs, items wait, and the next call gets all of them.

    It runs in a thread of its own, never twice at once, because fast tokenizers may not be used from two threads.

    Args:
        function: Function of items that returns one result for each.
    """

    def __init__(self, function: Callable[[list[Item]], Sequence[Result]]) -> None:
        self._function = function
        self._thread = ThreadPoolExecutor(1)
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._answering: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """The result of one item; an error of the function fails all items of its call."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, result))
        if self._answering is None or self._answering.done():
            self._answering = loop.create_task(self._answer_all())
        return await result

    async def _answer_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            taken, self._waiting = self._waiting, []
            # Nobody waits for a result whose caller was cancelled.
            try:
                found = await loop.run_in_executor(self._thread, self._function, [item for item, _ in taken])
                for (_, result), value in zip(taken, found, strict=True):
                    if not result.done():
                        result.set_result(value)
            except Exception as error:
                for _, result in taken:
                    if not result.done():
                        result.set_exception(error)
