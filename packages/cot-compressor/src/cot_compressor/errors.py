"""The errors of cot-compressor: one base class, whose `exit_code` is that of a command.

Exit code 2 means bad input or usage, 1 a failure.

>>> issubclass(InfeasibleBudget, CompressorError), InfeasibleBudget.exit_code
(True, 2)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

DISTRIBUTION = "cot-compressor"
"""Name by which pip installs this package."""


class CompressorError(Exception):
    """Base class of every error that cot-compressor raises on purpose."""

    exit_code = 1


class DataError(CompressorError, ValueError):
    """A file, row or argument breaks its contract; the message names the value and the remedy."""

    exit_code = 2


class InfeasibleBudget(DataError):
    """The budget is too small for what must be kept.

    Args:
        message: What does not fit, and the smallest ratio that would be enough.
        needed_tokens: A number of tokens that would be enough.
    """

    def __init__(self, message: str, *, needed_tokens: int) -> None:
        super().__init__(message)
        self.needed_tokens = needed_tokens

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), needed_tokens=self.needed_tokens), self.args


class RejectedRow(DataError):
    """A row is valid but cannot be used.

    Args:
        reason: Short slug by which rejected rows are counted, such as "empty_cot".
        detail: Explanation for this row.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.detail)


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Turn a failed import of an optional package into an error with the command that installs it.

    Args:
        extra: Name of the extra of cot-compressor that contains the package.
        what: Subject and verb of the message, such as "a trained scorer needs torch".

    Raises:
        DataError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise DataError(f"{what}: pip install 'cot-compressor[{extra}]'") from error
