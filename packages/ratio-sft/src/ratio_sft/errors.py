"""The errors of ratio-sft. `exit_code` is the exit code of a command that ends with the error.

>>> DataError("ratio must be in (0, 1]; got 20").exit_code, RatioSftError("the loss is nan").exit_code
(2, 1)
"""

DISTRIBUTION = "ratio-sft"
"""Name by which pip installs this package."""


class RatioSftError(Exception):
    """Base class of every error that ratio-sft raises: a failure (exit code 1)."""

    exit_code = 1


class DataError(RatioSftError, ValueError):
    """A file, row or argument that breaks its contract (exit code 2); the message names it and the remedy."""

    exit_code = 2
