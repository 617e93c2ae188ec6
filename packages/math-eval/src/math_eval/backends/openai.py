"""The backend for OpenAI-compatible servers (vLLM, SGLang, llama.cpp, hosted ones): chat completions over HTTP.

Requests run concurrently, and completions arrive as they finish. After a temporary failure (no connection, time-out,
429, 5xx, an answer that is cut off or reports one of these) a request is tried again with growing, jittered pauses, or
after the pause that the server asks for, so a server may be restarted during a run. A request that the server refuses
for what it contains, or fails at again and again while it completes another one, gives a completion with `refused`.
The key is read from OPENAI_API_KEY and never written, even if the server sends it back. What an answer may be is left
to `replies`, continuing thinking that is stopped to `raw_server`, resuming a run that gave up to `run`.

    server = Server("Qwen/Qwen3-1.7B", "http://127.0.0.1:8000/v1", concurrency=32)
    for index, completion, seconds in server.stream(["What is 1 + 1?"], Sampling(max_tokens=512), seeds=[0]): ...
"""

import asyncio
import os
import random
import re
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from openai import APIConnectionError, APIStatusError, AsyncOpenAI, Timeout
from tokenizers import Encoding

from math_eval._shared.bounded_http import BoundedClient
from math_eval._shared.secret_text import SHORTEST_SECRET, without_key
from math_eval._shared.server_messages import check_address, printable_words
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
    """A request that the server refuses for what it contains; the message is the server's words.

    Args:
        words: The server's words.
        seconds: Seconds of the last attempt.
    """

    def __init__(self, words: str, seconds: float) -> None:
        super().__init__(words)
        self.seconds = seconds


class Server:
    """A model behind a server.

    Args:
        model: Name of the model at the server.
        base_url: Address of the server, such as `http://127.0.0.1:8000/v1`.
        concurrency: Maximum number of requests in flight.
        tokenizer: Folder with the model's `tokenizer.json`, which counts thinking tokens exactly. Without it they are
            the server's `reasoning_tokens`, or else completion tokens * thinking characters / (thinking characters +
            answer characters), tags not counted.
        extra: Fields that are added to every request.
        thinking_format: Tags that are put around thinking that comes in a field of its own.
        leave_out: Which of temperature, top_p and seed are not sent, for a server that refuses them.
        requests_per_minute: Maximum number of requests in a minute, evenly spaced, repeated ones included; None for no
            limit.
        timeout_s: Seconds that the server may take for one completion.
        patience_s: Seconds after a request's first failure during which it is tried again; then the run stops.

    Raises:
        DataError: The address is bad, or the folder has no tokenizer.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        concurrency: int = 32,
        tokenizer: str | Path | None = None,
        extra: dict[str, Any] | None = None,
        thinking_format: ThinkingFormat = THINK,
        leave_out: Sequence[str] = (),
        requests_per_minute: int | None = None,
        timeout_s: float = 3600.0,
        patience_s: float = 600.0,
    ) -> None:
        check_address(base_url)
        self._model, self._base_url, self._concurrency = model, base_url, concurrency
        self._extra, self._leave_out, self._patience_s = extra or {}, leave_out, patience_s
        self._thinking_format = thinking_format
        self._limit = "max_tokens"
        self._folder = tokenizer
        self._tokenizer = read_tokenizer(tokenizer) if tokenizer is not None else None
        self._spacing_s, self._next = 60 / requests_per_minute if requests_per_minute else 0.0, 0.0
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise DataError("OPENAI_API_KEY contains a character that no key has; set it again")
        self._timeout_s, timeout = timeout_s, Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
        self._client = AsyncOpenAI(
            api_key=self._key or "none",
            base_url=base_url,
            timeout=timeout,
            max_retries=0,
            http_client=BoundedClient(timeout=timeout),
        )
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
        self._background.run(self._client.close())
        self._background.close()

    def stream(
        self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> Generator[Arrival, None, None]:
        """Complete prompts concurrently; the seconds are those of the last attempts.

        Raises:
            DataError: The server refuses every request, or its answer is too long or not a completion.
            MathEvalError: A request got no answer for `patience_s` seconds.
        """

        async def ask(index: int) -> Arrival:
            try:
                completion, seconds = await self._complete(prompts[index], sampling, seeds[index])
            except Refusal as refusal:
                completion, seconds = Completion("", 0, "stop", 0, refused=str(refusal)), refusal.seconds
            return index, completion, seconds

        return self._background.stream(ask, len(prompts), self._concurrency)

    async def _complete(self, prompt: str, sampling: Sampling, seed: int) -> tuple[Completion, float]:
        """One completion and its seconds."""
        reply, seconds = await self._ask(prompt, sampling, seed)
        text = self._without_key(reply.text)
        return Completion(text, reply.tokens, reply.finish_reason, self._thinking_tokens(text, reply)), seconds

    async def _ask(self, prompt: Any, sampling: Sampling, seed: int) -> tuple[Any, float]:
        """The answer to one request as `_read` reads it, and its seconds; a temporary failure is tried again.

        Raises:
            Refusal: The server refuses this request.
        """
        give_up, pause, server_errors, alone = None, _FIRST_PAUSE_S, 0, False
        fields = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed % _SEED_MODULUS}
        fields = {name: value for name, value in fields.items() if name not in self._leave_out}
        while True:
            await self._turn()
            start, limit = time.monotonic(), self._limit
            try:
                content = await self._send(prompt, {**fields, limit: sampling.max_tokens})
                return self._read(content), time.monotonic() - start
            except _FAILURES as error:
                now = time.monotonic()
                if self._refuses(error):
                    if limit == "max_tokens" and _asks_for_other_limit(error):
                        self._limit = "max_completion_tokens"
                        continue
                    raise Refusal(self._words(error), now - start) from None
                if (_status(error) or 0) >= _SERVER_ERROR:
                    if alone:
                        words = f"{self._words(error)} ({server_errors + 1} times, while another request was answered)"
                        raise Refusal(words, now - start) from None
                    server_errors += 1
                    alone = server_errors % _MOST_SERVER_ERRORS == 0 and await self._answers()
                    if alone:
                        continue
                requested = requested_pause(error)
                wait = random.uniform(0.5, 1.0) * pause if requested is None else requested
                give_up = give_up or now + self._patience_s
                if now + wait > give_up:
                    raise MathEvalError(
                        f"{self._base_url}: no answer for {self._patience_s:g} s ({self._words(error)}); repeat the "
                        "command to resume the run once the server is back"
                    ) from None
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _send(self, prompt: Any, fields: dict[str, Any]) -> bytes:
        """The server's answer to one request."""
        async with asyncio.timeout(self._timeout_s):  # the client's own limit is one of each read
            answer = await self._create(prompt, {**fields, **self._extra})
        return answer.http_response.content

    async def _create(self, prompt: Any, body: dict[str, Any]) -> Any:
        messages: Any = [{"role": "user", "content": prompt}]
        chat = self._client.chat.completions.with_raw_response
        return await chat.create(model=self._model, messages=messages, extra_body=body)

    def _read(self, content: bytes) -> Any:
        return read_reply(content, self._base_url, self._thinking_format)

    async def _answers(self) -> bool:
        """Whether the server completes the shortest of requests."""
        try:
            self._read(await self._send(self._shortest(), {self._limit: 1}))
        except _FAILURES:
            return False
        return True

    def _shortest(self) -> Any:
        return "Hi"

    async def _turn(self) -> None:
        """Wait until the rate limit permits the next request."""
        now = time.monotonic()
        begin = max(now, self._next)
        self._next = begin + self._spacing_s
        await asyncio.sleep(begin - now)

    def _without_key(self, text: str) -> str:
        return without_key(text, self._key) if len(self._key) >= SHORTEST_SECRET else text

    def _thinking_tokens(self, text: str, reply: Reply) -> int | None:
        if self._tokenizer is not None:
            return None
        split = self._thinking_format.split(text)
        characters = len(split.text) + len(split.answer)
        return reply.reasoning_tokens or round(reply.tokens * len(split.text) / max(characters, 1))

    def _refuses(self, error: _Failure) -> bool:
        """Whether the server refuses this one request; raises if no request can succeed."""
        if isinstance(error.__cause__, DataError):  # of `BoundedClient`; some versions of the client wrap it
            raise error.__cause__ from None
        status = _status(error)
        if status is None or status in _TRANSIENT or status >= _SERVER_ERROR:
            return False
        if status in _OF_ONE_REQUEST:
            return True
        if status < 400:
            raise DataError(
                f"{self._base_url}: the server redirects to another address (status {status}), which is "
                "never followed; name that address as --base-url if you trust it"
            ) from None
        raise DataError(f"{self._base_url}: the server refuses the request: {self._words(error)}") from None

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


def _status(error: _Failure) -> int | None:
    """The HTTP status of a failure, or the one that its answer names."""
    if isinstance(error, APIStatusError):
        return error.status_code
    return error.status if isinstance(error, ReplyError) else None


def requested_pause(error: _Failure) -> float | None:
    """The pause in seconds that the server asks for, or None."""
    if isinstance(error, APIStatusError):
        with suppress(ValueError):
            return min(max(_FIRST_PAUSE_S, float(error.response.headers.get("retry-after", ""))), 2 * _LONGEST_PAUSE_S)
    return None


def _asks_for_other_limit(error: _Failure) -> bool:
    """Whether a refusal asks for `max_completion_tokens` in place of `max_tokens`, as for OpenAI's reasoning models."""
    words = str(error)
    return "max_tokens" in words and "max_completion_tokens" in words and bool(_OTHER_LIMIT.search(words))
