"""A function of the user's own that a command line names as MODULE:FUNCTION.

What the function is for is left to the commands. Only a module that the user names is imported, from the current folder
or the environment; nothing of a model or a data file is.

>>> named_function("--grader", "operator:eq")("7", "7")
True
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import DataError


def name_or_function(flag: str, text: str) -> str | Callable[..., Any]:
    """The text itself, a name, or the function if it is `MODULE:FUNCTION`; see `named_function`."""
    return named_function(flag, text) if ":" in text else text


def named_function(flag: str, text: str) -> Callable[..., Any]:
    """The function that a flag names.

    Args:
        flag: The flag, which opens the message of an error.
        text: `MODULE:FUNCTION`; the module may be a file of the current folder.

    Raises:
        DataError: the text has another form, the module cannot be imported, or it has no such function.
    """
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise DataError(f"{flag} {text!r}: write MODULE:FUNCTION, such as my_grader:grade for my_grader.py")
    here = str(Path.cwd())
    try:
        # Only where it must be: libraries would look there for their optional packages, too.
        if here not in sys.path and find_spec(module.partition(".")[0]) is None:
            sys.path.append(here)
        found = getattr(import_module(module), name, None)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{flag} {text!r}: module {module} cannot be imported ({reason}); mend it") from error
    if not callable(found):
        raise DataError(f"{flag} {text!r}: module {module} has no function {name}; check the name")
    return found
