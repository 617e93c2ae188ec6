r"""Equality: whether two trees of `reading` are the same answer, and why.

`compare` is the entry. Each module decides one kind: `algebra` and `numeric` values, `quantities` units, `regions` sets
of real numbers, `relations` equations and inequalities, `conditions` values under a condition; `plain` leaves out what
changes nothing. Text that is not read is left to the caller.

>>> from math_eval.reading import read
>>> compare(read(r"\sqrt{8}").tree, read(r"2\sqrt2").tree).equal
True
"""

from .compare import Comparison, compare
from .policy import POLICIES, Policy

__all__ = ["POLICIES", "Comparison", "Policy", "compare"]
