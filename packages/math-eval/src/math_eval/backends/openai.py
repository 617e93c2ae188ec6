"""The backend for OpenAI-compatible servers (vLLM, SGLang, llama.cpp, hosted ones): chat completions over HTTP.

Requests run concurrently, and completions arrive as they finish. After a temporary failure (no connection, time-out,
429, 5xx) a request is tried again with growing, jittered pauses, or after the pause that the server asks for, so a
server may be restarted during a run. The key is read from OPENAI_API_KEY and never written. Resuming a run that gave up
is left to `run`.

    server = Server("Qwen/Qwen3-1.7B", "http://127.0.0.1:8000/v1", concurrency=32)
    for index, completion, seconds in server.stream(["What is 1 + 1?"], Sampling(max_tokens=512), seeds=[0]): ...
"""

import asyncio
import os
import random
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openai import APIConnectionError, APIStatusError, AsyncOpenAI, Timeout
from tokenizers import Tokenizer

from math_eval._shared.thinking import CLOSE, OPEN, split_thinking
from math_eval.errors import DataError, MathEvalError

from . import Arrival, Completion, Sampling
from .background import Background

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _CONNECT_S = 0.5, 30.0, 30.0
_TRANSIENT = {408, 409, 425, 429}
_SEED_MODULUS = 2**31


class Server:
    """A model behind a server.

    Args:
        model: Name of the model at the server.
        base_url: Address of the server, such as `http://127.0.0.1:8000/v1`.
        concurrency: Maximum number of requests in flight.
        tokenizer: Folder with the model's `tokenizer.json`, which counts thinking tokens exactly. Without it they are
            the server's `reasoning_tokens`, or else completion tokens * thinking characters / all characters.
        extra: Fields that are added to every request.
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
        requests_per_minute: int | None = None,
        timeout_s: float = 3600.0,
        patience_s: float = 600.0,
    ) -> None:
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise DataError(f"base-url must look like http://127.0.0.1:8000/v1; got {base_url!r}")
        if address.username or address.password:
            raise DataError("base-url must not contain a user name or password; set OPENAI_API_KEY instead")
        self._model, self._base_url, self._concurrency = model, base_url, concurrency
        self._extra, self._patience_s = extra or {}, patience_s
        self._tokenizer = _read_tokenizer(tokenizer) if tokenizer is not None else None
        self._spacing_s, self._next = 60 / requests_per_minute if requests_per_minute else 0.0, 0.0
        key = os.environ.get("OPENAI_API_KEY", "").strip() or "none"
        if not (key.isascii() and key.isprintable()):
            raise DataError("OPENAI_API_KEY contains a character that no key has; set it again")
        timeout = Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
        self._client = AsyncOpenAI(api_key=key, base_url=base_url, timeout=timeout, max_retries=0)
        self._background = Background()

    @property
    def environment(self) -> dict[str, str]:
        """The version of the client, and the method that counts thinking tokens."""
        counted = "the server's usage" if self._tokenizer is None else "tokenizer.json"
        return {"backend": "openai", "openai": version("openai"), "tokens": counted}

    def render(self, user_turn: str) -> str:
        """The user turn itself: the server applies the chat template."""
        return user_turn

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
        """Complete prompts concurrently; the seconds are those of the attempt that succeeded.

        Raises:
            DataError: The server refuses a request.
            MathEvalError: A request got no answer for `patience_s` seconds.
        """

        async def ask(index: int) -> Arrival:
            return index, *await self._one(prompts[index], sampling, seeds[index])

        return self._background.stream(ask, len(prompts), self._concurrency)

    async def _one(self, prompt: str, sampling: Sampling, seed: int) -> tuple[Completion, float]:
        """One completion and its seconds; a temporary failure is tried again."""
        give_up, pause = None, _FIRST_PAUSE_S
        while True:
            await self._turn()
            start = time.monotonic()
            try:
                answer = await self._client.chat.completions.create(
                    model=self._model,
                    messages=[{"role": "user", "content": prompt}],
                    max_tokens=sampling.max_tokens,
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    seed=seed % _SEED_MODULUS,
                    extra_body=self._extra,
                )
                return self._completion(answer), time.monotonic() - start
            except (APIConnectionError, APIStatusError) as error:
                requested, now = _requested_pause(error), time.monotonic()
                wait = random.uniform(0.5, 1.0) * pause if requested is None else requested
                give_up = give_up or now + self._patience_s
                if now + wait > give_up:
                    raise MathEvalError(
                        f"{self._base_url}: no answer for {self._patience_s:g} s ({_words(error)}); repeat the command "
                        "to resume the run once the server is back"
                    ) from error
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _turn(self) -> None:
        """Wait until the rate limit permits the next request."""
        now = time.monotonic()
        begin = max(now, self._next)
        self._next = begin + self._spacing_s
        await asyncio.sleep(begin - now)

    def _completion(self, answer: Any) -> Completion:
        if not getattr(answer, "choices", None):
            raise DataError(f"{self._base_url}: the answer is not a chat completion; does the address end in /v1?")
        choice, usage = answer.choices[0], answer.usage
        if usage is None:
            raise DataError(f"{self._base_url}: the server reports no token usage; use one that does")
        text = choice.message.content or ""
        extras = choice.message.model_extra or {}
        reasoning = extras.get("reasoning_content") or extras.get("reasoning")
        if reasoning:
            text = f"{OPEN}{reasoning}{CLOSE if text else ''}{text}"
        finish = "length" if choice.finish_reason == "length" else "stop"
        return Completion(text, usage.completion_tokens, finish, self._thinking_tokens(text, usage))

    def _thinking_tokens(self, text: str, usage: Any) -> int | None:
        if self._tokenizer is not None:
            return None
        thinking = split_thinking(text).text
        reported = getattr(usage.completion_tokens_details, "reasoning_tokens", None)
        return reported or round(usage.completion_tokens * len(thinking) / max(len(text), 1))

    def count(self, text: str) -> int:
        """Number of tokens of a text; needs the tokenizer."""
        assert self._tokenizer is not None
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids) if text else 0

    def has_token(self, text: str) -> bool:
        """Whether a text is a single token of the vocabulary; needs the tokenizer."""
        assert self._tokenizer is not None
        return self._tokenizer.encode(text, add_special_tokens=False).tokens == [text]


def _read_tokenizer(folder: str | Path) -> Tokenizer:
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise DataError(f"{path}: no such file; --tokenizer names the model's folder")
    return Tokenizer.from_file(str(path))


def _requested_pause(error: APIConnectionError | APIStatusError) -> float | None:
    """The pause in seconds that the server asks for, or None; raises if another attempt cannot help."""
    if isinstance(error, APIConnectionError):
        return None
    if error.status_code not in _TRANSIENT and error.status_code < 500:
        raise DataError(f"the server refuses the request: {_words(error)}") from error
    with suppress(ValueError):
        return min(max(0.0, float(error.response.headers.get("retry-after", ""))), 2 * _LONGEST_PAUSE_S)
    return None


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
