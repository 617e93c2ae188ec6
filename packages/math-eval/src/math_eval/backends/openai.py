"""The backend for OpenAI-compatible servers (vLLM, SGLang, llama.cpp, hosted ones): chat completions over HTTP.

Requests run concurrently, and completions arrive as they finish. After a temporary failure (no connection, time-out,
429, 5xx, an answer that is cut off or reports one of these) a request is tried again with growing, jittered pauses, or
after the pause that the server asks for, so a server may be restarted during a run. Where several servers have the
model, one that fails is set aside, and its requests go to the others. A request that every server refuses for what it
contains, or fails at again and again while one completes another request, gives a completion with `refused`. The key is
read from OPENAI_API_KEY and never written, even if a server sends it back. Which server is asked is left to
`server_choice`, what an answer may be to `replies`, continuing thinking that is stopped to `raw_server`, resuming a run
that gave up to `run`.

    server = Server("Qwen/Qwen3-1.7B", ["http://127.0.0.1:8000/v1"], concurrency=32)
    for index, completion, seconds in server.stream(["What is 1 + 1?"], Sampling(max_tokens=512), seeds=[0]): ...
"""

import asyncio
import os
import random
import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from openai import APIConnectionError, APIStatusError, AsyncOpenAI, Timeout
from tokenizers import Encoding

from math_eval._shared.bounded_http import BoundedClient
from math_eval._shared.secret_text import SHORTEST_SECRET, without_key
from math_eval._shared.server_choice import Endpoint, ServerChoice
from math_eval._shared.server_messages import printable_words
from math_eval._shared.thinking import THINK, ThinkingFormat
from math_eval._shared.tokenizer_file import read_tokenizer, tokenizing
from math_eval.errors import DataError, MathEvalError

from . import Arrival, Completion, Sampling
from .background import Background
from .replies import Reply, ReplyError, read_reply

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _CONNECT_S = 0.5, 30.0, 30.0
_TRANSIENT = {408, 409, 425, 429}
_OF_ONE_REQUEST = {400, 413, 422}
"""Statuses that refuse a request for what it contains; others, such as 401, concern every request."""
_MOST_SERVER_ERRORS = 8
"""Server errors of one request, after which another request shows whether the server or the request is at fault."""
_OTHER_LIMIT = re.compile("unsupported|not supported|instead|deprecated", re.IGNORECASE)
_SERVER_ERROR = 500
_SEED_MODULUS = 2**31
_Failure = APIConnectionError | APIStatusError | TimeoutError | ReplyError
_FAILURES = (APIConnectionError, APIStatusError, TimeoutError, ReplyError)


class Refusal(Exception):
    """A request that the servers refuse for what it contains; the message is the words of the last one.

    Args:
        words: The server's words.
        seconds: Seconds of the last attempt.
        server: Address of the server.
    """

    def __init__(self, words: str, seconds: float, server: str) -> None:
        super().__init__(words)
        self.seconds, self.server = seconds, server


class Attempt(NamedTuple):
    """An attempt of a request that a server answered with a completion."""

    reply: Any
    """What `Server._read` makes of the answer."""
    seconds: float
    server: str
    """Address of the server."""


@dataclass
class _Request:
    """What the attempts of a request have shown so far."""

    pause_s: float
    give_up: float | None = None
    server_errors: int = 0
    alone: Endpoint | None = None
    """The server that completed another request after so many failures of this one."""
    refused: dict[Endpoint, str] = field(default_factory=dict)
    """The servers that refused this request for what it contains, with their words."""


class Server:
    """A model behind one server or several.

    Args:
        model: Name of the model at the servers.
        base_urls: Addresses of the servers, such as `http://127.0.0.1:8000/v1`.
        concurrency: Maximum number of requests in flight, at all servers together.
        tokenizer: Folder with the model's `tokenizer.json`, which counts thinking tokens exactly. Without it they are
            the server's `reasoning_tokens`, or else completion tokens * thinking characters / (thinking characters +
            answer characters), tags not counted.
        extra: Fields that are added to every request.
        thinking_format: Tags that are put around thinking that comes in a field of its own.
        leave_out: Which of temperature, top_p and seed are not sent, for a server that refuses them.
        requests_per_minute: Maximum number of requests that a server gets in a minute, evenly spaced, repeated ones
            included; None for no limit.
        timeout_s: Seconds that a server may take for one completion.
        patience_s: Seconds after a request's first failure during which it is tried again; then the run stops.
        notify: Function that gets a line about each server that is set aside, when it first is.

    Raises:
        DataError: An address is bad, or the folder has no tokenizer.
    """

    def __init__(
        self,
        model: str,
        base_urls: Sequence[str],
        *,
        concurrency: int = 32,
        tokenizer: str | Path | None = None,
        extra: dict[str, Any] | None = None,
        thinking_format: ThinkingFormat = THINK,
        leave_out: Sequence[str] = (),
        requests_per_minute: int | None = None,
        timeout_s: float = 3600.0,
        patience_s: float = 600.0,
        notify: Callable[[str], object] | None = None,
    ) -> None:
        pauses = {"first_pause_s": _FIRST_PAUSE_S, "longest_pause_s": _LONGEST_PAUSE_S}
        self._choice = ServerChoice(base_urls, **pauses)
        self._model, self._concurrency, self._notify = model, concurrency, notify
        self._extra, self._leave_out, self._patience_s = extra or {}, leave_out, patience_s
        self._thinking_format = thinking_format
        self._limits = dict.fromkeys(self._choice.endpoints, "max_tokens")
        self._faulty: set[Endpoint] = set()
        self._folder = tokenizer
        self._tokenizer = read_tokenizer(tokenizer) if tokenizer is not None else None
        self._spacing_s = 60 / requests_per_minute if requests_per_minute else 0.0
        self._next = dict.fromkeys(self._choice.endpoints, 0.0)
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise DataError("OPENAI_API_KEY contains a character that no key has; set it again")
        self._timeout_s, timeout = timeout_s, Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
        self._clients = {
            endpoint: AsyncOpenAI(
                api_key=self._key or "none",
                base_url=endpoint.address,
                timeout=timeout,
                max_retries=0,
                http_client=BoundedClient(timeout=timeout),
            )
            for endpoint in self._choice.endpoints
        }
        self._background = Background()

    @property
    def environment(self) -> dict[str, str]:
        """The version of the client, and the method that counts thinking tokens."""
        counted = "the server's usage" if self._tokenizer is None else "tokenizer.json"
        return {"backend": "openai", "openai": version("openai"), "tokens": counted}

    def render(self, user_turns: Sequence[str], empty: ThinkingFormat | None = None) -> list[str]:
        """The user turns themselves: the server applies the chat template. `RawServer` takes `empty`."""
        assert empty is None
        return list(user_turns)

    def length(self, prompt: str) -> int:
        """Number of characters of a prompt, since only the order of lengths is needed."""
        return len(prompt)

    def prepare(self, longest_prompt: int, max_tokens: int) -> None:
        """Nothing: the server refuses requests that are too long."""

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            self._background.run(client.close())
        self._background.close()

    def stream(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> Generator[Arrival, None, None]:
        """Complete prompts concurrently; the seconds are those of the last attempts.

        Raises:
            DataError: Every server refuses every request, or its answer is too long or not a completion.
            MathEvalError: A request got no answer for `patience_s` seconds.
        """

        async def ask(index: int) -> Arrival:
            try:
                completion, seconds = await self._complete(prompts[index], sampling, seeds[index])
            except Refusal as refusal:
                completion = Completion("", 0, "stop", 0, refused=str(refusal), server=refusal.server)
                seconds = refusal.seconds
            return index, completion, seconds

        return self._background.stream(ask, len(prompts), self._concurrency)

    async def _complete(self, prompt: str, sampling: Sampling, seed: int) -> tuple[Completion, float]:
        """One completion and its seconds."""
        reply, seconds, server = await self._ask(prompt, sampling, seed)
        text = self._without_key(reply.text)
        thinking = self._thinking_tokens(text, reply)
        return Completion(text, reply.tokens, reply.finish_reason, thinking, server=server), seconds

    async def _ask(self, prompt: Any, sampling: Sampling, seed: int) -> Attempt:
        """Send one request until a server answers it.

        Raises:
            Refusal: The servers refuse this request.
        """
        request = _Request(_FIRST_PAUSE_S)
        fields = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed % _SEED_MODULUS}
        fields = {name: value for name, value in fields.items() if name not in self._leave_out}
        while True:
            with self._choice.asking(request.alone, request.refused) as server:
                await self._turn(server)
                start, limit = time.monotonic(), self._limits[server]
                try:
                    content = await self._send(server, prompt, {**fields, limit: sampling.max_tokens})
                    reply = self._read(content, server.address)
                except (*_FAILURES, DataError) as error:
                    failure = error
                else:
                    self._choice.answered(server)
                    self._faulty.discard(server)
                    return Attempt(reply, time.monotonic() - start, server.address)
            await self._after_failure(request, server, failure, limit, time.monotonic() - start)

    async def _after_failure(
        self, request: _Request, server: Endpoint, failure: _Failure | DataError, limit: str, seconds: float
    ) -> None:
        """Return when the request may be sent again; raise if it is refused, or the run cannot go on."""
        fault = self._fault(server, failure)
        status = None if fault else _status(failure)
        if fault is None and status in _OF_ONE_REQUEST:
            if limit == "max_tokens" and _asks_for_other_limit(failure):
                self._limits[server] = "max_completion_tokens"
                return
            request.refused[server] = self._words(failure)
        elif (status or 0) >= _SERVER_ERROR:
            if request.alone:
                times = f"({request.server_errors + 1} times, while another request was answered)"
                raise Refusal(f"{self._words(failure)} {times}", seconds, server.address) from None
            request.server_errors += 1
            if request.server_errors % _MOST_SERVER_ERRORS == 0 and await self._answers(server):
                request.alone = server
                return
        if server not in request.refused:
            request.alone = None
            self._set_aside(server, failure, fault)
        if len(request.refused) == len(self._choice.endpoints):
            raise Refusal(self._words(failure), seconds, server.address) from None
        if not self._choice.is_any_ready(without=request.refused):
            await self._wait(request, server, failure)

    def _set_aside(self, server: Endpoint, failure: _Failure | DataError, fault: DataError | None) -> None:
        """Set a server aside, with a message for the first time.

        Raises:
            DataError: No request can succeed at any server.
        """
        if fault is None:
            self._faulty.discard(server)
        else:
            self._faulty.add(server)
            if len(self._faulty) == len(self._choice.endpoints):
                raise fault from None
        first = self._choice.failed(server, requested_pause(failure) or 0.0)
        if first and self._notify:
            line = str(fault) if fault else f"{server.address}: {self._words(failure)}"
            self._notify(f"{line}; its requests go to the other servers, and it is tried again later")

    async def _wait(self, request: _Request, server: Endpoint, failure: _Failure | DataError) -> None:
        """Wait before a request is sent again, while no server is ready.

        Raises:
            Refusal: No server has answered for too long, but one has refused the request.
            MathEvalError: No server has answered for too long.
        """
        requested = requested_pause(failure)
        wait = random.uniform(0.5, 1.0) * request.pause_s if requested is None else requested
        now = time.monotonic()
        request.give_up = request.give_up or now + self._patience_s
        if now + wait > request.give_up:
            for refusing, words in request.refused.items():
                raise Refusal(words, 0.0, refusing.address) from None
            raise MathEvalError(
                f"{server.address}: no answer for {self._patience_s:g} s ({self._words(failure)}); repeat the "
                "command to resume the run once the server is back"
            ) from None
        await asyncio.sleep(wait)
        request.pause_s = min(2 * request.pause_s, _LONGEST_PAUSE_S)

    async def _send(self, server: Endpoint, prompt: Any, fields: dict[str, Any]) -> bytes:
        """A server's answer to one request."""
        async with asyncio.timeout(self._timeout_s):  # the client's own limit is one of each read
            answer = await self._create(self._clients[server], prompt, {**fields, **self._extra})
        return answer.http_response.content

    async def _create(self, client: AsyncOpenAI, prompt: Any, body: dict[str, Any]) -> Any:
        messages: Any = [{"role": "user", "content": prompt}]
        chat = client.chat.completions.with_raw_response
        return await chat.create(model=self._model, messages=messages, extra_body=body)

    def _read(self, content: bytes, where: str) -> Any:
        return read_reply(content, where, self._thinking_format)

    async def _answers(self, server: Endpoint) -> bool:
        """Whether a server completes the shortest of requests."""
        try:
            self._read(await self._send(server, self._shortest(), {self._limits[server]: 1}), server.address)
        except (*_FAILURES, DataError):
            return False
        return True

    def _shortest(self) -> Any:
        return "Hi"

    async def _turn(self, server: Endpoint) -> None:
        """Wait until the rate limit permits the next request."""
        now = time.monotonic()
        begin = max(now, self._next[server])
        self._next[server] = begin + self._spacing_s
        await asyncio.sleep(begin - now)

    def _without_key(self, text: str) -> str:
        return without_key(text, self._key) if len(self._key) >= SHORTEST_SECRET else text

    def _thinking_tokens(self, text: str, reply: Reply) -> int | None:
        if self._tokenizer is not None:
            return None
        split = self._thinking_format.split(text)
        characters = len(split.text) + len(split.answer)
        return reply.reasoning_tokens or round(reply.tokens * len(split.text) / max(characters, 1))

    def _fault(self, server: Endpoint, failure: _Failure | DataError) -> DataError | None:
        """The fault of a server at which no request can succeed, such as a wrong key; None for other failures."""
        if isinstance(failure, DataError):
            return failure
        if isinstance(failure.__cause__, DataError):  # of `BoundedClient`; some versions of the client wrap it
            return failure.__cause__
        status = _status(failure)
        if status is None or status in _TRANSIENT | _OF_ONE_REQUEST or status >= _SERVER_ERROR:
            return None
        if status < 400:
            return DataError(
                f"{server.address}: the server redirects to another address (status {status}), which is "
                "never followed; name that address as --base-url if you trust it"
            )
        return DataError(f"{server.address}: the server refuses the request: {self._words(failure)}")

    def _words(self, error: Exception) -> str:
        """The message of an error as one short printable line without the key."""
        if isinstance(error, TimeoutError):
            return f"no whole answer within {self._timeout_s:g} s"
        return printable_words(error, self._key)

    def count(self, text: str) -> int:
        """Number of tokens of a text; needs the tokenizer."""
        return len(self._encode(text).ids) if text else 0

    def has_token(self, text: str) -> bool:
        """Whether a text is a single token of the vocabulary; needs the tokenizer."""
        return self._encode(text).tokens == [text]

    def _encode(self, text: str) -> Encoding:
        assert self._tokenizer is not None
        assert self._folder is not None
        # Half a surrogate pair, which no tokenizer reads, becomes "?".
        whole = text.encode("utf-8", "replace").decode()
        with tokenizing(self._folder):
            return self._tokenizer.encode(whole, add_special_tokens=False)


def _status(error: Exception) -> int | None:
    """The HTTP status of a failure, or the one that its answer names."""
    if isinstance(error, APIStatusError):
        return error.status_code
    return error.status if isinstance(error, ReplyError) else None


def requested_pause(error: Exception) -> float | None:
    """The pause in seconds that the server asks for, or None."""
    if isinstance(error, APIStatusError):
        with suppress(ValueError):
            return min(max(_FIRST_PAUSE_S, float(error.response.headers.get("retry-after", ""))), 2 * _LONGEST_PAUSE_S)
    return None


def _asks_for_other_limit(error: Exception) -> bool:
    """Whether a refusal asks for `max_completion_tokens` in place of `max_tokens`, as for OpenAI's reasoning models."""
    words = str(error)
    return "max_tokens" in words and "max_completion_tokens" in words and bool(_OTHER_LIMIT.search(words))
