"""The errors of math-eval. `exit_code` is the exit code of a command: 2 for bad input or usage, 1 for a failure."""

from collections.abc import Iterator
from contextlib import contextmanager

DISTRIBUTION = "cot-math-eval"
"""Name by which pip installs this package."""


class MathEvalError(Exception):
    """Base class of the errors that math-eval reports."""

    exit_code = 1


class DataError(MathEvalError, ValueError):
    """A file, row or argument violates its contract; the message names it and the remedy."""

    exit_code = 2


@contextmanager
def needs_extra(names: str, otherwise: str = "") -> Iterator[None]:
    """Turn a failed import of an optional package into an error with the command that installs it.

    Args:
        names: Extras that install the package, separated by commas.
        otherwise: Another remedy for the user, added to the message.

    Raises:
        DataError: A package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise DataError(
            f"{error.name} is not installed; run: pip install '{DISTRIBUTION}[{names}]'{otherwise}"
        ) from error
