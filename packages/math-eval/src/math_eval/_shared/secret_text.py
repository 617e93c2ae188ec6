# copied from packages/_shared/secret_text.py; edit it there
"""Keys in text of strangers: each is shown as `[key]`, also where a server or an error page spells it in another way.

A key is found as it is, in other case, with escapes of URLs, JSON or HTML, in hex, and in base64. Which text may
contain one is up to the callers.

>>> without_key("bad key sk-123%34567890ab, SK-1234567890AB", "sk-1234567890ab")
'bad key [key], [key]'
"""

import os
import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

SHORTEST_SECRET = 12
"""Characters of a key that no honest text contains by chance."""
_SHOWN = "[key]"
_VARIABLES = ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY")


def without_key(text: str, key: str | None) -> str:
    """`text` with `[key]` in place of the key; one of fewer than 12 characters only as it is, or encoded for a URL."""
    if not key:
        return text
    if len(key) < SHORTEST_SECRET:
        return text.replace(key, _SHOWN).replace(quote(key, safe=""), _SHOWN)
    return _spellings(key).sub(_SHOWN, text)


def without_secrets(text: str) -> str:
    """`text` without the keys of this process that have 12 characters or more: those of the environment and the hub."""
    for key in known_keys():
        text = without_key(text, key)
    return text


def known_keys() -> Iterator[str]:
    """The keys of servers and hubs that this process knows, if they have 12 characters or more."""
    found = [os.environ.get(name, "").strip() for name in _VARIABLES]
    if hub := sys.modules.get("huggingface_hub.constants"):
        with suppress(OSError, ValueError):
            found.append(Path(hub.HF_TOKEN_PATH).read_text("utf-8").strip())
    yield from dict.fromkeys(key for key in found if len(key) >= SHORTEST_SECRET)


@lru_cache
def _spellings(key: str) -> re.Pattern[str]:
    """Every way to write a key that is looked for."""
    each = "".join(_character(character) for character in key)
    coded = "|".join(re.escape(code) for code in _base64(key.encode()))
    return re.compile(f"(?i:{each}|{key.encode().hex()})|{coded}")


def _character(character: str) -> str:
    """A pattern of one character, or its escape in a URL, JSON or HTML; bounded, so that a search takes linear time."""
    code = ord(character)
    return (
        rf"(?:\\{{0,3}}{re.escape(character)}|%(?:25)?{code:02x}|\\{{1,3}}(?:u00|x){code:02x}|&#(?:{code}|x{code:x});)"
    )


def _base64(key: bytes) -> Iterator[str]:
    """The digits of a key in base64 that do not depend on what is before and behind it, at each of three places."""
    for before in range(3):
        digits = b64encode(bytes(before) + key).decode()
        inner = digits[-(-before * 8 // 6) : (before + len(key)) * 8 // 6]
        yield from {inner, inner.translate(str.maketrans("+/", "-_"))}
