"""The result of grading one completion.

Verdict("correct", "42").correct   # True
"""

from dataclasses import dataclass

VERDICTS = ("correct", "incorrect", "no_answer", "gold_unparsable", "limit", "timeout", "error")


@dataclass(frozen=True)
class Verdict:
    """What the grader says of one completion.

    Args:
        verdict: `correct`; `incorrect`; `no_answer` (none found where it counts); `gold_unparsable` (the reference
            answer cannot be read); `limit` (the answer is too large or too deep to parse safely); `timeout`; `error`
            (the parser failed twice).
        extracted: the answer found in the completion, or None.
        detail: why, for `limit` and `error`.
        grade_ms: milliseconds it took, waiting for a worker included.
    """

    verdict: str
    extracted: str | None
    detail: str = ""
    grade_ms: float = 0.0

    @property
    def correct(self) -> bool:
        """True only for the verdict `correct`."""
        return self.verdict == "correct"
