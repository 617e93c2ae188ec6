# copied from packages/_shared/server_messages.py; edit it there
"""Addresses and messages of servers: no secret in an address, no key and no control character in a message.

>>> without_key("bad key sk-123456789012", "sk-123456789012")
'bad key [key]'
"""

from urllib.parse import quote, urlsplit

from ..errors import DataError
from .terminal import printable

_MOST_CHARS = 300


def without_key(text: str, key: str | None) -> str:
    """`text` with `[key]` in place of the API key, also where it is encoded for an address."""
    return text.replace(key, "[key]").replace(quote(key, safe=""), "[key]") if key else text


def printable_words(error: Exception, key: str | None) -> str:
    """The message of an error as one short printable line without the key."""
    return printable(" ".join(without_key(str(error), key).split())[:_MOST_CHARS])


def check_address(base_url: str) -> None:
    """Refuse an address that is none, or that contains what may be a secret; the message never quotes it.

    Raises:
        DataError: The address is not one of HTTP, or has a user name, a password, a query or a fragment.
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
    if not usable or not base_url.isprintable():
        shown = repr(base_url[:100]) if "@" not in base_url else "another text"
        raise DataError(f"base-url must look like http://127.0.0.1:8000/v1; got {shown}")
