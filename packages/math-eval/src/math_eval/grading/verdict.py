"""The result of grading one completion.

>>> Verdict("correct", "42").correct
True
"""

from dataclasses import dataclass

VERDICTS = ("correct", "incorrect", "no_answer", "gold_unparsable", "limit", "timeout", "error")
"""Every verdict; only `correct` counts as correct."""


@dataclass(frozen=True)
class Verdict:
    """The grader's result for one completion.

    Args:
        verdict: `correct`; `incorrect`; `no_answer` (the completion contains none, or only inside its thinking);
            `gold_unparsable` (the reference answer cannot be read); `limit` (the answer is too large or too deeply
            nested to parse safely); `timeout`; `error` (the parser raised an exception, or two grading processes died).
        extracted: The answer found in the completion, or None.
        detail: The reason, if the verdict needs one.
        grade_ms: Time in milliseconds, waiting for a worker included.
    """

    verdict: str
    extracted: str | None
    detail: str = ""
    grade_ms: float = 0.0

    @property
    def correct(self) -> bool:
        """Whether the verdict is `correct`."""
        return self.verdict == "correct"
