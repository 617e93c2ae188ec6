"""Names of tasks, which are parts of file names: plain names, so that no path leaves its folder.

>>> check_name("../gsm8k", "manifest.json")
Traceback (most recent call last):
math_eval.errors.DataError: manifest.json: task '../gsm8k' has '/' in its name; rename it
"""

import re

from .errors import DataError

_FORBIDDEN = re.compile("[/\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MOST_BYTES = 200


def check_name(task: str, where: str) -> str:
    """The name, if it may be part of a file name.

    Args:
        task: Name of a task.
        where: Place of the name, which opens the message of an error.

    Raises:
        DataError: The name has a slash, a line break or another control character, or is too long for a file name.
    """
    if found := _FORBIDDEN.search(task):
        raise DataError(f"{where}: task {task[:100]!r} has {found.group()!r} in its name; rename it")
    size = len(task.encode("utf-8", "surrogatepass"))
    if size > _MOST_BYTES:
        raise DataError(f"{where}: task {task[:20]!r}… has a name of {size} bytes, and {_MOST_BYTES} fit; shorten it")
    return task
