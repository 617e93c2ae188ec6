"""The errors of math-eval: one base, and `exit_code` says how a command ends (2 bad input or usage, 1 failure)."""


class MathEvalError(Exception):
    """Anything that math-eval itself reports."""

    exit_code = 1


class DataError(MathEvalError, ValueError):
    """A file, row or argument is not what the contract says; the message names it and the remedy."""

    exit_code = 2
