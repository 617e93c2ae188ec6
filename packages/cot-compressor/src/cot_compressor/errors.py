"""The errors of cot-compressor: one base, and `exit_code` says how a command ends (2 bad input or usage, 1 failure)."""

from functools import partial
from typing import Any


class CompressorError(Exception):
    """Anything that cot-compressor itself reports."""

    exit_code = 1


class DataError(CompressorError, ValueError):
    """A file, row or argument is not what the contract says; the message names it and the remedy."""

    exit_code = 2


class InfeasibleBudget(DataError):
    """The budget is too small for what must be kept; `needed_tokens` would do."""

    def __init__(self, message: str, *, needed_tokens: int) -> None:
        super().__init__(message)
        self.needed_tokens = needed_tokens

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), needed_tokens=self.needed_tokens), self.args


class RejectedRow(DataError):
    """A row that is valid but cannot be used; `reason` is the slug it is counted by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.detail)
