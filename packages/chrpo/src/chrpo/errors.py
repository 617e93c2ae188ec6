"""The errors of chrpo: one base class; `exit_code` is the exit code of a command (2 bad input or usage, 1 failure)."""

DISTRIBUTION = "chrpo"
"""Name by which pip installs this package."""


class ChrpoError(Exception):
    """Base of every error that chrpo raises."""

    exit_code = 1


class DataError(ChrpoError, ValueError):
    """A file, row or argument breaks its contract; the message names it and the remedy."""

    exit_code = 2
