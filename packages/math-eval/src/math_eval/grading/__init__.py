r"""Grading: find the answer in a completion, and decide whether it equals the reference answer (`gold`).

`extract` finds the answer, `limits` refuses what is too large to parse, `exact` decides by exact arithmetic, and `pool`
runs math-verify in killable processes for the rest. Generation and statistics are left to other modules.

>>> grade(r"<think>6 * 7</think>The answer is \boxed{42}.", "42").verdict
'correct'
"""

from .extract import extract_answer
from .grader import Grader, grade
from .verdict import VERDICTS, Verdict

__all__ = ["VERDICTS", "Grader", "Verdict", "extract_answer", "grade"]
