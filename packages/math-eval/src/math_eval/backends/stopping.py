r"""Stops thinking: a completion as a few requests to continue token ids, the same ones whatever engine answers them.

A plan asks for tokens up to the next pause, looks at what came, and closes the block or goes on. So thinking before a
pause is what the model writes without one. An engine only has to continue token ids up to a limit: batches run their
plans with `finish_together`, requests in flight each with `finish_alone`. Nothing here needs torch.

    asks = plan(model, "<user> add 1 and 2 <assistant><think>", Sampling(64, stop=stop))
    next(asks)                                    # Ask(ids=[3, 13, …], limit=4): a budget of 4 tokens
    asks.send(Answer([17, 15, 18, 16], False))    # Ask(ids=[3, 13, …, 6], limit=47): closed by a text of 13 tokens
"""

import hashlib
import math
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, replace

from math_eval._shared.boxed import last_boxed
from math_eval.errors import DataError

from . import Completion, Sampling, ThinkingStop, gap
from .prompts import Prompts

_BOX = "\\boxed{"
_TRIAL_TOKENS = 32
"""Most tokens of a trial answer. Our choice: longer answers than this are rare, and such a trial counts as unsure."""


@dataclass(frozen=True)
class Ask:
    """Tokens to generate.

    Args:
        ids: Token ids of the prompt and of what follows it so far.
        limit: Maximum number of new tokens.
        trial: Whether this is a trial answer: greedy, and with the probabilities of its tokens.
    """

    ids: list[int]
    limit: int
    trial: bool = False


@dataclass(frozen=True)
class Answer:
    """Generated tokens.

    Args:
        ids: Token ids without the end token.
        ended: Whether the end token followed.
        log_probabilities: Log probability of each token of a trial answer, before temperature and nucleus.
        limit_ignored: Whether the server wrote more tokens than it was asked for, of which `ids` has none.
    """

    ids: list[int]
    ended: bool
    log_probabilities: Sequence[float] = ()
    limit_ignored: bool = False


Plan = Generator[Ask, Answer, Completion]
"""Yields what to generate, is sent what was generated, and returns the completion."""


def plan(model: Prompts, prompt: str, sampling: Sampling) -> Plan:
    """The plan of one completion; without a `ThinkingStop` it has one request.

    Args:
        model: Tokenizer of the model.
        prompt: The rendered prompt.
        sampling: Token limit, and where thinking stops.

    Raises:
        DataError: The tokenizer cannot write the closing tag, or the limit leaves no room for closing and an answer.
    """
    start = list(model.encode(prompt))
    if sampling.stop is None:
        answer = yield Ask(start, sampling.max_tokens)
        return model.completion(answer.ids, answer.ended)
    return (yield from _Stopped(model, prompt, start, sampling, sampling.stop).run())


class _Stopped:
    """A completion whose thinking stops, while it grows."""

    def __init__(self, model: Prompts, prompt: str, start: list[int], sampling: Sampling, stop: ThinkingStop) -> None:
        self._model, self._start, self._limit, self._stop = model, start, sampling.max_tokens, stop
        self._format = stop.thinking_format.after(prompt)
        self._begin = 0 if self._format.opened else None
        known = [f"\n\n{text}" if model.writes(text) else "" for text in (stop.closing, stop.trial)]
        tag = f"{self._format.between}{self._format.close}{gap(self._format)}"
        self._closing, self._trial = model.ids(f"{known[0]}\n{tag}"), model.ids(f"{known[1]} {_BOX}")
        self._ids: list[int] = []
        self._trial_tokens = 0
        self._check()

    def _check(self) -> None:
        stop, tag = self._stop, self._format.close
        if tag not in self._model.decode(self._closing):
            raise DataError(
                f"{self._model.path}: its tokenizer cannot write {tag}, which closes the thinking; name the model's "
                "own tags with --thinking-format"
            )
        needed = stop.pause + len(self._closing) + 1
        if stop.confidence is None and needed > self._limit:
            raise DataError(
                f"a budget of {stop.pause} thinking tokens, {len(self._closing)} that close them and an answer need "
                f"more than --max-tokens {self._limit}; raise it to far above {needed}"
            )

    def run(self) -> Plan:
        """Generate up to each pause, then close the block or go on."""
        pause, cut, ended, ignored = self._stop.pause, None, False, False
        while not ended and (left := self._limit - len(self._ids)) > 0:
            thought = None if cut is not None else self._thought()
            if thought is not None and thought >= pause:
                # More than that only follows what began like the closing tag.
                kept = self._ids[: (self._begin or 0) + pause]
                room = len(kept) + len(self._closing) < self._limit
                if self._stop.confidence is None and not room:
                    self._ids = kept
                    break
                if room and (yield from self._stops(kept)):
                    cut = len(kept)
                    self._ids = kept + self._closing
                else:
                    pause += self._stop.pause
                continue
            answer = yield Ask(self._start + self._ids, left if thought is None else min(left, pause - thought))
            self._ids += answer.ids
            ended, ignored = answer.ended, ignored or answer.limit_ignored
        return replace(
            self._model.completion(self._ids, ended),
            closing_text=None if cut is None else self._closing_text(cut),
            trial_tokens=None if self._stop.confidence is None else self._trial_tokens,
            limit_ignored=ignored,
        )

    def _thought(self) -> int | None:
        """Number of thinking tokens so far, 0 before the block opens; None once it is closed.

        Tokens at the end that begin like the closing tag are not counted before the rest is there.
        """
        text = self._model.decode(self._ids)
        parts = self._format.parts(text)
        if parts.closing:
            return None
        if self._begin is None and parts.opening:
            self._begin = self._first(lambda ids: bool(self._format.parts(self._model.decode(ids)).opening))
        if self._begin is None:
            return 0
        tag = self._format.between + self._format.close
        begun = max(size for size in range(len(tag)) if text.endswith(tag[:size]))
        own = self._first(lambda ids: len(self._model.decode(ids)) >= len(text) - begun) if begun else len(self._ids)
        return max(own - self._begin, 0)

    def _first(self, holds: Callable[[list[int]], bool]) -> int:
        """The smallest number of the first tokens for which something holds that holds for more of them, too."""
        return bisect_left(range(len(self._ids)), True, key=lambda count: holds(self._ids[:count]))

    def _stops(self, kept: list[int]) -> Generator[Ask, Answer, bool]:
        """Whether thinking stops after these tokens."""
        threshold = self._stop.confidence
        return threshold is None or (yield from self._confidence(kept)) >= threshold

    def _confidence(self, kept: list[int]) -> Generator[Ask, Answer, float]:
        """Geometric mean of the probabilities of a trial answer's tokens, up to its closing brace; 0 without one."""
        begin = [*self._start, *kept, *self._trial]
        limit = min(_TRIAL_TOKENS, len(self._start) + self._limit - len(begin))
        if limit < 1:
            return 0.0
        answer = yield Ask(begin, limit, trial=True)
        self._trial_tokens += len(answer.ids) + answer.ended
        for count in range(1, len(answer.ids) + 1):
            box = last_boxed(_BOX + self._model.decode(answer.ids[:count]))
            if box is not None:
                own = answer.log_probabilities[: max(count - 1, 1)]
                return math.exp(math.fsum(own) / len(own)) if box else 0.0
        return 0.0

    def _closing_text(self, cut: int) -> str:
        until = self._model.decode(self._ids[: cut + len(self._closing)])
        return until[len(self._model.decode(self._ids[:cut])) :]


def finish_together(plans: Sequence[Plan], extend: Callable[[list[Ask], int], list[Answer]]) -> list[Completion]:
    """The completions of plans that run in rounds: the requests of a round are one batch, trial answers another.

    Args:
        plans: The plans, none of them started.
        extend: Function of a batch of requests and the number of the round.
    """
    done: dict[int, Completion] = {}
    asks = {index: next(each) for index, each in enumerate(plans)}
    number = 0
    while asks:
        waiting, asks = asks, {}
        for trial in (False, True):
            batch = {index: ask for index, ask in waiting.items() if ask.trial == trial}
            answers = extend(list(batch.values()), number) if batch else []
            for index, answer in zip(batch, answers, strict=True):
                try:
                    asks[index] = plans[index].send(answer)
                except StopIteration as finished:
                    done[index] = finished.value
        number += 1
    return [done[index] for index in range(len(plans))]


async def finish_alone(asks: Plan, extend: Callable[[Ask, int], Awaitable[Answer]]) -> Completion:
    """The completion of one plan.

    Args:
        asks: The plan, not started.
        extend: Coroutine function of a request and its number in the plan.
    """
    ask, number = next(asks), 0
    while True:
        answer = await extend(ask, number)
        try:
            ask = asks.send(answer)
        except StopIteration as finished:
            return finished.value
        number += 1


def request_seed(seed: int, number: int) -> int:
    """The random seed of a request of a plan: that of the completion for the first one, and a hash of both after it."""
    return seed if number == 0 else int(hashlib.sha256(f"{seed} {number}".encode()).hexdigest()[:15], 16)
