"""An HTTP client for servers that nobody has to trust: bounded answers, no redirect.

Repeating requests and reading answers is left to the callers. Needs openai.

    client = AsyncOpenAI(api_key=key, base_url=url, http_client=BoundedClient())
"""

from typing import Any

from openai import DefaultAsyncHttpxClient

from ..errors import DataError

_MOST_BYTES = 2**24
_FRAMING = {"content-encoding", "content-length", "transfer-encoding"}


class BoundedClient(DefaultAsyncHttpxClient):
    """An HTTP client whose answers have at most 16 MiB and are not compressed; a redirect is an answer like another."""

    async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        """Send a request and read its whole answer.

        Raises:
            DataError: The answer is compressed or too long.
        """
        request.headers["Accept-Encoding"] = "identity"
        answer = await super().send(request, stream=True, **{**options, "follow_redirects": False})
        try:
            if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
                raise DataError(
                    f"{request.url}: compresses its answers, which it was asked not to do; change its settings"
                )
            body = bytearray()
            async for part in answer.aiter_raw():
                body += part
                if len(body) > _MOST_BYTES:
                    raise DataError(
                        f"{request.url}: an answer of more than {_MOST_BYTES // 2**20} MiB; use another server"
                    )
        finally:
            await answer.aclose()
        kept = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _FRAMING]
        return type(answer)(answer.status_code, headers=kept, content=bytes(body), request=request)
