"""Asynchronous requests for a synchronous caller: an event loop in a background thread.

The requests themselves are left to the backends.

    background = Background()
    for answer in background.stream(ask, count=100, at_once=8): ...   # `ask(index)` is a coroutine function
    background.close()
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

_T = TypeVar("_T")


class Background:
    """An event loop in a background thread, until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="math-eval requests", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine in the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stream(
        self, ask: Callable[[int], Coroutine[Any, Any, _T]], count: int, at_once: int
    ) -> Generator[_T, None, None]:
        """Yield the results of `ask(0)` to `ask(count - 1)` as they arrive.

        The first error is raised here. An error, or closing the generator, cancels all unfinished requests.

        Args:
            ask: Coroutine function of the request's index.
            count: Number of requests, which begin in order.
            at_once: Maximum number of requests in flight.
        """
        answers: queue.SimpleQueue[tuple[_T] | BaseException | None] = queue.SimpleQueue()
        waiting = iter(range(count))

        async def work() -> None:
            for index in waiting:
                answers.put((await ask(index),))

        async def work_all() -> None:
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(at_once, count)):
                        workers.create_task(work())
                answers.put(None)
            except BaseExceptionGroup as group:
                answers.put(group.exceptions[0])

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(work_all())

        task = self.run(begin())
        try:
            while (answer := answers.get()) is not None:
                if isinstance(answer, BaseException):
                    raise answer
                yield answer[0]
        finally:
            self._loop.call_soon_threadsafe(task.cancel)
            self.run(_ended(task))

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])
