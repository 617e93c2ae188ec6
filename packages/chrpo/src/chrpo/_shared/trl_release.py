# copied from packages/_shared/trl_release.py; edit it there
"""The releases of TRL that both trainers support, 0.29 to 1.16; what differs between them is left to the callers.

>>> release("1.17.0.dev0"), refusal("0.24.0", "a trainer does not support")
((1, 17, 0), 'a trainer does not support TRL 0.24.0; install trl>=0.29,<1.17')
"""

import re
from importlib.util import find_spec

REMEDY = "install trl>=0.29,<1.17"
_OLDEST, _BEYOND, _NEEDS_TRITON = (0, 29), (1, 17), (1, 15)


def release(version: str) -> tuple[int, ...]:
    """The first three numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def refusal(version: str, unsupported: str) -> str | None:
    """Why a release cannot be used: it is older or newer, or is 1.15 and lacks triton; None if it can.

    Args:
        version: Version of TRL.
        unsupported: Start of the sentence about a release outside the range.
    """
    if not _OLDEST <= release(version) < _BEYOND:
        return f"{unsupported} TRL {version}; {REMEDY}"
    if release(version)[:2] == _NEEDS_TRITON and find_spec("triton") is None:
        return "TRL 1.15 computes the loss with triton, which is not installed; install another release"
    return None
