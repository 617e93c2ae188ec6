r"""Grading: which answer a completion gives, and whether it equals the gold answer.

Three steps, each in its own module: `extract` finds the answer, `exact` decides what plain arithmetic can decide, and
`pool` asks math-verify in killable workers about the rest. Generation and statistics are left to other modules.

    grade(r"<think>6 * 7</think>The answer is \boxed{42}.", "42").verdict   # 'correct'
"""

from .extract import extract_answer
from .grader import Grader, grade
from .verdict import VERDICTS, Verdict

__all__ = ["VERDICTS", "Grader", "Verdict", "extract_answer", "grade"]
