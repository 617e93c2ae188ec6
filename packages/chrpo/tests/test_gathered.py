"""Rollouts that come one at a time are graded together, as verl's reward workers need it."""

import asyncio
import threading

import pytest

from chrpo.gathered import GatheredCalls


def test_what_waits_is_answered_together_and_each_gets_its_own():
    calls, first_runs, more_wait = [], threading.Event(), threading.Event()

    def doubled(numbers):
        calls.append(numbers)
        first_runs.set()
        assert more_wait.wait(60)
        return [2 * number for number in numbers]

    async def run():
        double = GatheredCalls(doubled)
        early = [asyncio.create_task(double(number)) for number in (1, 2)]
        await asyncio.to_thread(first_runs.wait)
        late = [asyncio.create_task(double(number)) for number in (3, 4, 5)]
        await asyncio.sleep(0)
        more_wait.set()
        return await asyncio.gather(*early, *late), await double(6)

    assert asyncio.run(run()) == ([2, 4, 6, 8, 10], 12)
    assert calls == [[1, 2], [3, 4, 5], [6]]


def test_an_error_fails_the_items_of_its_call_alone():
    def inverse(numbers):
        return [1 / number for number in numbers]

    async def run():
        invert = GatheredCalls(inverse)
        failed = await asyncio.gather(invert(0), invert(1), return_exceptions=True)
        return [type(each) for each in failed], await invert(2)

    assert asyncio.run(run()) == ([ZeroDivisionError] * 2, 0.5)


def test_a_function_that_loses_a_result_is_an_error_and_no_one_waits_for_ever():
    async def run():
        lose = GatheredCalls(lambda items: items[:-1])
        return await asyncio.wait_for(asyncio.gather(lose(1), lose(2), return_exceptions=True), 60)

    assert isinstance(asyncio.run(run())[1], ValueError)


def test_a_caller_that_is_cancelled_takes_no_other_with_it():
    started, go = threading.Event(), threading.Event()

    def slow(items):
        started.set()
        assert go.wait(60)
        return items

    async def run():
        call = GatheredCalls(slow)
        one, other = asyncio.create_task(call(1)), asyncio.create_task(call(2))
        await asyncio.to_thread(started.wait)
        one.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await one
        return await other

    assert asyncio.run(run()) == 2
