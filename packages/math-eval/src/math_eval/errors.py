"""The errors of math-eval. `exit_code` is the exit code of a command: 2 for bad input or usage, 1 for a failure."""

DISTRIBUTION = "cot-math-eval"
"""Name by which pip installs this package."""


class MathEvalError(Exception):
    """Base class of the errors that math-eval reports."""

    exit_code = 1


class DataError(MathEvalError, ValueError):
    """A file, row or argument violates its contract; the message names it and the remedy."""

    exit_code = 2
