r"""Addresses and messages of servers: no secret in an address, no key and no control character in a message.

>>> printable_words(ValueError("bad\nkey sk-123456789012"), "sk-123456789012")
'bad key [key]'
"""

from urllib.parse import urlsplit

from ..errors import DataError
from .secret_text import known_keys, without_key
from .terminal import printable

_MOST_CHARS, _MOST_READ_CHARS = 300, 100_000


def printable_words(error: Exception, key: str | None) -> str:
    """The message of an error as one short printable line without the key."""
    return printable(" ".join(without_key(str(error)[:_MOST_READ_CHARS], key).split())[:_MOST_CHARS])


def check_address(base_url: str) -> None:
    """Refuse an address that is none, or that contains what may be a secret; the message never quotes it.

    Raises:
        DataError: The address is not one of HTTP, or has a user name, a password, a query, a fragment, or a key.
    """
    try:
        address = urlsplit(base_url)
        usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:
        address = usable = None
    if address and (address.username or address.password):
        raise DataError("base-url must not contain a user name or password; set OPENAI_API_KEY instead")
    if "?" in base_url or "#" in base_url:
        raise DataError("base-url must not contain a query (?…) or fragment (#…); set OPENAI_API_KEY for the key")
    if any(without_key(base_url, key) != base_url for key in known_keys()):
        raise DataError("base-url must not contain a key, because outputs name it; set OPENAI_API_KEY instead")
    if not usable or not base_url.isprintable():
        shown = repr(base_url[:100]) if "@" not in base_url else "another text"
        raise DataError(f"base-url must look like http://127.0.0.1:8000/v1; got {shown}")
