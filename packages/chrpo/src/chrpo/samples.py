"""Samples of the frozen model, counted by problem and ratio as they are read, and not kept in memory.

What follows from the counts is left to `prepare`; samples come from `math-eval run`.

    problems = by_problem(["samples.jsonl"], [0.2, 1.0], unlike, Tally(), Counter())
    problems["7"].ratios[0.2].accuracy                   # .75: 3 of 4 samples are correct
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._shared.control_tokens import user_turn
from ._shared.records import Row, Tally, read_placed
from ._shared.runs import MANIFEST
from ._shared.strict_json import parse_json
from ._shared.thinking import ThinkingFormat, split_thinking
from .errors import DataError

WHOLE = 1.0
"""Place of samples without a ratio among the counts, where the checkpoint has no control tokens."""

OUTCOME_FIELDS = frozenset(
    {
        "prompt",
        "completion",
        "finish_reason",
        "thinking_tokens",
        "completion_tokens",
        "extracted",
        "verdict",
        "ratio",
        "seed",
        "sample",
        "latency_s",
        "mode",
        "teacher_ratio",
        "reference_tokens",
        "reference_accuracy",
    }
)
"""Fields of a sample that describe the sample; every other field describes the problem and is copied to the prompt."""
SAMPLER_FIELDS = ("temperature", "top_p", "top_k", "max_tokens", "model", "backend")
MANIFEST_FIELDS = SAMPLER_FIELDS[:4]
"""Sampler settings that the manifest beside a samples file may contain in place of the rows."""


@dataclass
class Counts:
    """Sums over the samples of one problem at one ratio."""

    draws: set[tuple[int, int]] = field(default_factory=set)
    """Seed and number of each sample."""
    correct: int = 0
    halves: list[list[int]] = field(default_factory=lambda: [[0, 0], [0, 0]])
    """Correct samples and samples of each half: the first, third, … and the second, fourth, …."""
    thinking: int = 0
    completion: int = 0
    truncated: int = 0

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.draws)

    @property
    def accuracy(self) -> float:
        """Share of correct samples."""
        return self.correct / self.samples

    def add(self, row: Row) -> None:
        """Count a sample."""
        half = self.halves[self.samples % 2]
        half[0] += is_correct(row)
        half[1] += 1
        self.draws.add((row["seed"], row["sample"]))
        self.correct += is_correct(row)
        self.thinking += row["thinking_tokens"]
        self.completion += row["completion_tokens"]
        self.truncated += row["finish_reason"] == "length"


@dataclass
class Problem:
    """Everything that is kept of a problem's samples."""

    question: str
    answer: str
    carried: Row = field(default_factory=dict)
    """The fields that describe the problem, from its first sample at the largest ratio."""
    ratios: dict[float, Counts] = field(default_factory=dict)
    sampler: dict[str, list[Any]] = field(default_factory=dict)
    unique: bool = True
    gradable: bool = True


def is_correct(row: Row) -> bool:
    """Whether a sample is correct; a truncated answer is incorrect, as in training."""
    return row["verdict"] == "correct" and row["finish_reason"] != "length"


@dataclass(frozen=True)
class UnlikeTraining:
    """Names the ways in which a sample was prompted or graded differently from a rollout of training."""

    instruction: str
    thinking_format: ThinkingFormat
    fits: Callable[[str], bool]

    def __call__(self, row: Row) -> Iterator[str]:
        """The names for a sample."""
        if row["verdict"] == "correct":
            if not is_correct(row):
                yield "right_but_cut_off"
            elif not self.fits(split_thinking(row["completion"], row["prompt"], self.thinking_format).answer):
                yield "right_in_another_form"
        asked = user_turn(row["question"], None, self.instruction)
        if row["question"] in row["prompt"] and asked not in row["prompt"]:
            yield "asked_otherwise"


def manifest_settings(samples: Path) -> Row:
    """The sampler settings in the `manifest.json` that `math-eval run` writes beside its samples, if there is one."""
    path = samples.with_name(MANIFEST)
    found = parse_json(path.read_text("utf-8"), str(path)) if path.is_file() else {}
    settings = found.get("settings") if isinstance(found, dict) else None
    return {name: settings[name] for name in MANIFEST_FIELDS if name in settings} if isinstance(settings, dict) else {}


def by_problem(
    files: Iterable[str | Path], ladder: list[float] | None, unlike: UnlikeTraining, tally: Tally, counts: Counter[str]
) -> dict[str, Problem]:
    """The problems of samples files, by id, with their samples at each ratio.

    Args:
        files: Paths of samples files.
        ladder: Ratios in rising order; None for samples without a ratio, which are counted at `WHOLE`.
        unlike: Names of the ways in which a sample differs from a rollout of training.
        tally: Counts the samples read.
        counts: Counts the names.

    Raises:
        DataError: a row is bad, or a sample is there twice.
    """
    problems: dict[str, Problem] = {}
    for path in files:
        for where, row in read_placed(path, "samples"):
            tally.read += 1
            problem = problems.setdefault(row["id"], Problem(row["question"], row["answer"]))
            ratio = _counted_at(row["ratio"], ladder)
            if ratio is None:
                continue
            at_ratio = problem.ratios.setdefault(ratio, Counts())
            if (row["seed"], row["sample"]) in at_ratio.draws:
                raise DataError(
                    f"{where}: id {row['id']!r}: sample {row['sample']} of seed {row['seed']} at ratio {ratio:g} is "
                    "there twice, so one answer would count as two; remove the copy"
                )
            at_ratio.add(row)
            counts.update(unlike(row))
            problem.unique &= (row["question"], row["answer"]) == (problem.question, problem.answer)
            problem.gradable &= row["verdict"] != "gold_unparsable"
            note_values(problem.sampler, row)
            if ratio == (ladder[-1] if ladder else WHOLE) and not problem.carried:
                problem.carried = {name: value for name, value in row.items() if name not in OUTCOME_FIELDS}
    return problems


def _counted_at(ratio: float | str | None, ladder: list[float] | None) -> float | None:
    """The ratio at which a sample is counted; None if it is not."""
    if ladder is None:
        return WHOLE if ratio is None else None
    return float(ratio) if isinstance(ratio, int | float) else None


def note_values(seen: dict[str, list[Any]], row: Row) -> None:
    """Add the sampler settings of a row to those seen before."""
    for name in SAMPLER_FIELDS:
        if name in row and row[name] not in seen.setdefault(name, []):
            seen[name].append(row[name])


def counted(problems: dict[str, Problem], ladder: list[float]) -> int:
    """Number of samples at the ratios of the ladder."""
    return sum(
        found.samples for problem in problems.values() for ratio, found in problem.ratios.items() if ratio in ladder
    )
