r"""A math benchmark that grades safely, counts thinking tokens and compares runs with statistics.

The public interface is what this module names; everything else may change. Model libraries are imported when they are
needed.

>>> grade(r"<think>6 * 7 = 42</think> The answer is \boxed{42}.", "42.0").verdict
'correct'
"""

from importlib.metadata import version

# A module that is imported later would replace the function of the same name here; so all three are imported now.
from . import grade as _grade  # noqa: F401
from .compare import compare
from .errors import MathEvalError
from .grading import VERDICTS, Grader, Verdict, extract_answer, grade
from .report import write_report
from .run import run
from .run_folders import load_condition
from .settings import RunSettings
from .tasks import load_task

__all__ = [
    "VERDICTS",
    "Grader",
    "MathEvalError",
    "RunSettings",
    "Verdict",
    "compare",
    "extract_answer",
    "grade",
    "load_condition",
    "load_task",
    "run",
    "write_report",
]
__version__ = version("cot-math-eval")
