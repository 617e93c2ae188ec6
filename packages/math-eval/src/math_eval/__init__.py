"""A math benchmark that grades safely, counts thinking tokens and compares runs with statistics."""

from importlib.metadata import version

from .grading import VERDICTS, Grader, Verdict, extract_answer, grade

__all__ = ["VERDICTS", "Grader", "Verdict", "extract_answer", "grade"]
__version__ = version("math-eval")
