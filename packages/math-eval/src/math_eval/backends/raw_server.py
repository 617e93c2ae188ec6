"""A server that continues texts: its raw completions (`/v1/completions`) of token ids that are made here.

Chat completions cannot do this: templates close a half-finished turn, or put an empty block before it. So the chat
template of the model's folder is applied here, and each request contains the prompt and all that was written after it,
as token ids. vLLM returns token ids, too; of other servers the text is tokenised. It needs transformers.

    server = RawServer("Qwen/Qwen3-1.7B", ["http://127.0.0.1:8000/v1"], prompts=Prompts("checkpoints/qwen"))
    for index, completion, seconds in server.stream(server.render(["What is 1 + 1?"]), sampling, seeds=[0]): ...
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from openai import AsyncOpenAI

from math_eval._shared.thinking import ThinkingFormat

from . import Completion, Sampling
from .openai import Refusal, Server
from .prompts import Prompts
from .replies import RawReply, read_raw_reply
from .stopping import Answer, Ask, finish_alone, plan, request_seed

_FIELDS = {"skip_special_tokens": False, "return_token_ids": True}


class RawServer(Server):
    """A model behind one server or several, and its prompts.

    Args:
        model: Name of the model at the servers.
        base_urls: Addresses of the servers.
        prompts: Tokenizer and chat template of the model.
        options: Further arguments of `Server`, without `tokenizer` and `extra`.

    Raises:
        DataError: The address is bad, or the folder of the prompts has no tokenizer.json.
    """

    def __init__(self, model: str, base_urls: Sequence[str], *, prompts: Prompts, **options: Any) -> None:
        super().__init__(model, base_urls, tokenizer=prompts.path, extra=_FIELDS, **options)
        self._prompts = prompts

    @property
    def environment(self) -> dict[str, str]:
        """Versions of the client and of what renders the prompts, and the method that counts thinking tokens."""
        return {**super().environment, "transformers": version("transformers")}

    def render(self, user_turns: Sequence[str], empty: ThinkingFormat | None = None) -> list[str]:
        """The prompts: the chat template of the model's folder is applied here."""
        return self._prompts.render(user_turns, empty)

    async def _complete(self, prompt: str, sampling: Sampling, seed: int) -> tuple[Completion, float]:
        seconds, server = 0.0, ""

        async def extend(ask: Ask, number: int) -> Answer:
            nonlocal seconds, server
            limited = replace(sampling, max_tokens=ask.limit)
            reply, more, server = await self._ask(ask.ids, limited, request_seed(seed, number))
            seconds += more
            answer = self._answer(reply, ask.limit)
            if not (answer.ids or answer.ended):
                raise Refusal("an answer without a token", seconds, server)
            return answer

        completion = await finish_alone(plan(self._prompts, prompt, sampling), extend)
        return replace(completion, text=self._without_key(completion.text), server=server), seconds

    def _answer(self, reply: RawReply, limit: int) -> Answer:
        """A reply as tokens: what is beyond the limit is cut off, and the end of it with it."""
        ignored = reply.tokens > limit
        ended = reply.finish_reason == "stop"
        ids = self._prompts.ids(reply.text) if reply.ids is None else reply.ids[: -1 if ended else None]
        ended = ended and not ignored
        return Answer(ids if ended else ids[:limit], ended, limit_ignored=ignored)

    async def _create(self, client: AsyncOpenAI, prompt: Any, body: dict[str, Any]) -> Any:
        raw = client.completions.with_raw_response
        return await raw.create(model=self._model, prompt=prompt, extra_body=body)

    def _read(self, content: bytes, where: str) -> Any:
        return read_raw_reply(content, where)

    def _shortest(self) -> Any:
        return self._prompts.ids("Hi") or [0]
