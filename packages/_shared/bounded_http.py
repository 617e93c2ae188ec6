"""An HTTP client for servers that nobody has to trust: bounded answers, no redirect.

The proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is used, except for the hosts of NO_PROXY and for this machine.
Repeating requests and reading answers is left to the callers. Needs openai.

    client = AsyncOpenAI(api_key=key, base_url=url, http_client=BoundedClient())
"""

from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from openai import DefaultAsyncHttpxClient

from ..errors import DataError

_MOST_BYTES = 2**24
_DROPPED = {"content-encoding", "content-length", "transfer-encoding", "content-type"}
"""Headers that do not fit the answer as it is read; a type could name any codec of Python, some of them very slow."""
_THIS_MACHINE = ("all://localhost", "all://127.0.0.1", "all://[::1]")
_PROXIES = {"http", "https", "socks5", "socks5h"}


class BoundedClient(DefaultAsyncHttpxClient):
    """An HTTP client whose answers are at most 16 MiB of UTF-8, not compressed; a redirect is an answer."""

    def __init__(self, **options: Any) -> None:
        """Take what the client of httpx takes.

        Raises:
            DataError: The environment names a proxy that cannot be used.
        """
        _check_proxies()
        try:
            super().__init__(mounts=dict.fromkeys(_THIS_MACHINE), **options)
        except ImportError:
            raise DataError("a SOCKS proxy needs one more package: pip install socksio") from None

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
        kept = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _DROPPED]
        return type(answer)(answer.status_code, headers=kept, content=bytes(body), request=request)


def _check_proxies() -> None:
    """Refuse a proxy that is none; the message never quotes it, because it may contain a password.

    Raises:
        DataError: The environment names one.
    """
    for name in ("http", "https", "all"):
        address = getproxies().get(name)
        try:
            parts = urlsplit(address if not address or "://" in address else f"http://{address}")
            usable = not address or (parts.scheme in _PROXIES and parts.hostname and parts.port != 0)
        except ValueError:
            usable = False
        if not usable:
            raise DataError(f"{name.upper()}_PROXY must look like http://HOST:PORT; correct it, or unset it")
