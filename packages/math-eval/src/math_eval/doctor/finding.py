"""One thing that `doctor` found: how bad it is, in numbers, and what to do.

>>> print(Finding("loops", WARNING, "3 of 9 samples end in a loop", "sample with --preset reasoning"))
warning  loops: 3 of 9 samples end in a loop
         -> sample with --preset reasoning
"""

from dataclasses import dataclass

from math_eval._shared.terminal import terminal_line

ERROR, WARNING, OK = "error", "warning", "ok"
"""Numbers of the run are wrong; they may mislead; nothing was found."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Args:
        check: Name of the check.
        level: `error`, `warning` or `ok`.
        found: What was found.
        remedy: What to do; empty if nothing needs to be done.
    """

    check: str
    level: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        """One or two lines for a terminal."""
        first = f"{self.level:<8} {self.check}: {terminal_line(self.found)}"
        return f"{first}\n{'':8} -> {self.remedy}" if self.remedy else first
