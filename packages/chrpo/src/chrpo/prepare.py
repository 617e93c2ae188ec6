"""`chrpo prepare`: from samples of the frozen model at every ratio to prompts for reinforcement learning.

The teacher ratio, reference length and reference accuracy of each problem are measured here once and do not change
during training. Samples are counted as they are read and not kept in memory. A finished output is left alone, and a
changed one is refused, as `_shared/output_file.py` describes. Sampling and grading are left to `math-eval run`.

    prepare("samples.jsonl", "prompts.jsonl", tokens=ControlTokens.load("checkpoints/sft"))
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from ._shared.control_tokens import INSTRUCTION, ControlTokens, user_turn
from ._shared.lock import locked
from ._shared.output_file import OutputFile
from ._shared.records import Row, Tally, path_beside, read_placed, write_json, write_records
from ._shared.runs import MANIFEST, digest
from ._shared.strict_json import parse_json
from ._shared.thinking import THINK, ThinkingFormat, split_thinking
from ._shared.thinking_formats import given_format
from .answer_format import AnswerFormat, answer_check, format_name
from .core.ratios import CONFIDENCE, THRESHOLD, TeacherRatio, samples_needed, teacher_ratio
from .errors import DataError

COMMAND = "chrpo prepare"
_SUMMARY = "summary.json"
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
_UNLIKE = ("right_but_cut_off", "right_in_another_form", "asked_otherwise")


def prepare(
    samples: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    tokens: ControlTokens,
    policy_share: float = 1.0,
    confidence: float = CONFIDENCE,
    threshold: float = THRESHOLD,
    instruction: str = INSTRUCTION,
    seed: int = 0,
    thinking_format: str = "think",
    answer_format: AnswerFormat = "boxed",
    overwrite: bool = False,
    notify: Callable[[str], object] | None = None,
) -> tuple[Tally, dict[str, Any]] | None:
    """Write one prompt per problem to `out`, and a summary to `OUT.summary.json`.

    Args:
        samples: Path of a samples file, or of several, with every problem sampled at every ratio of the ladder.
        out: Path of the prompts file to write.
        tokens: Control tokens of the checkpoint that will be trained.
        policy_share: Share of prompts in which the model chooses the ratio; the others request the ratios in turn.
        confidence: Confidence level of the lower accuracy bound in `teacher_ratio`.
        threshold: Accuracy that the bound must reach.
        instruction: First line of the user turn; use the instruction the samples were drawn with.
        seed: Random seed for choosing which prompts request a ratio.
        thinking_format: Name of the checkpoint's thinking format, or a file such as its `thinking_format.json`.
        answer_format: Form of the answer in training; see `RolloutReader`.
        overwrite: True to replace an output that was made with other settings, or to make a finished one again.
        notify: Function that gets a line about the work before it, the thinking format of the checkpoint.

    Returns:
        The counts of samples read, prompts written and problems rejected, and the summary; None if `out` was finished
        before, with the same settings and samples.

    Raises:
        DataError: a row is bad, an option is out of range, no problem is sampled at the whole ladder, or `out` was made
            with other settings, by another program, or changed since.
    """
    if not 0 <= policy_share <= 1:
        raise DataError(f"policy share must be in [0, 1]; got {policy_share:g}")
    needed = samples_needed(confidence, threshold)
    files = [samples] if isinstance(samples, str | Path) else list(samples)
    options: Row = {"policy_share": policy_share, "confidence": confidence, "threshold": threshold, "seed": seed}
    options |= {"instruction": instruction, **_other_forms(thinking := given_format(thinking_format), answer_format)}
    output = _output(Path(out), files, tokens, options)
    output.check_apart(map(Path, files))
    with locked(Path(out)):
        if output.state(overwrite=overwrite) == "finished":
            return None
        if notify is not None:
            notify(f"thinking format: {thinking}")
        unlike = _UnlikeTraining(instruction, thinking, answer_check(answer_format))
        tally, prompts, summary = _measure(files, tokens, needed, options, unlike)
        output.start()
        write_records(output.growing, prompts)
        tally.write_rejected(output.growing)
        write_json(path_beside(output.growing, _SUMMARY), summary)
        output.publish(("chrpo",))
    return tally, summary


def _other_forms(thinking_format: ThinkingFormat, answer_format: AnswerFormat) -> Row:
    """The settings of thinking and answer that are not the usual ones."""
    found: Row = {} if thinking_format == THINK else {"thinking_format": asdict(thinking_format)}
    return found if answer_format == "boxed" else {**found, "answer_format": format_name(answer_format)}


def _output(out: Path, files: Sequence[str | Path], tokens: ControlTokens, options: Row) -> OutputFile:
    """The prompts file, and everything that it depends on."""
    settings = {
        **options,
        "samples": [digest(file) for file in files],
        "sampler": [_manifest_settings(Path(file)) for file in files],
        "control_tokens": {"ratios": tokens.ratios, "policy": tokens.policy},
    }
    return OutputFile(out, ("rejected.jsonl", _SUMMARY), COMMAND, settings)


def _measure(
    files: Sequence[str | Path], tokens: ControlTokens, needed: int, options: Row, unlike: "_UnlikeTraining"
) -> tuple[Tally, list[Row], dict[str, Any]]:
    """The counts, the prompts and the summary of samples files, with `needed` samples at each ratio."""
    tally, counts, ladder = Tally(), Counter[str](), list(tokens.ratios.values())
    problems = _by_problem(files, ladder[-1], unlike, tally, counts)
    usable = {key: found for key, found in problems.items() if _usable(key, found, ladder, needed, tally)}
    if not usable:
        found = f" ({tally.summary()})" if tally.rejected else ""
        raise DataError(
            f"{', '.join(map(str, files))}: no problem has the {needed} samples that a ratio needs at each of "
            f"{', '.join(f'{ratio:g}' for ratio in ladder)}; sample the whole ladder{found}"
        )
    requested = _requested_ratios(list(usable), options["policy_share"], ladder, options["seed"])
    teachers = {
        key: _teacher(found, ladder, options["confidence"], options["threshold"]) for key, found in usable.items()
    }
    prompts = [
        _prompt(found, ladder, teachers[key], requested[key], tokens=tokens, options=options)
        for key, found in usable.items()
    ]
    tally.written = len(prompts)
    summary = _summary(usable, ladder, teachers, prompts, tally)
    for file in files:
        _note_values(summary["sampler"], _manifest_settings(Path(file)))
    summary |= {name: counts[name] for name in _UNLIKE}
    summary["samples_off_the_ladder"] = tally.read - _counted(problems, ladder)
    return tally, prompts, summary | {"settings": options}


@dataclass
class _Counts:
    """Sums over the samples of one problem at one ratio."""

    draws: set[tuple[int, int]] = field(default_factory=set)
    """Seed and number of each sample."""
    correct: int = 0
    thinking: int = 0
    completion: int = 0
    truncated: int = 0

    @property
    def samples(self) -> int:
        return len(self.draws)

    @property
    def accuracy(self) -> float:
        return self.correct / self.samples

    def add(self, row: Row) -> None:
        self.draws.add((row["seed"], row["sample"]))
        self.correct += is_correct(row)
        self.thinking += row["thinking_tokens"]
        self.completion += row["completion_tokens"]
        self.truncated += row["finish_reason"] == "length"


@dataclass
class _Problem:
    """Everything that is kept of a problem's samples."""

    question: str
    answer: str
    carried: Row = field(default_factory=dict)
    """The fields that describe the problem, from its first sample at the largest ratio."""
    ratios: dict[float, _Counts] = field(default_factory=dict)
    sampler: dict[str, list[Any]] = field(default_factory=dict)
    unique: bool = True
    gradable: bool = True


def is_correct(row: Row) -> bool:
    """Whether a sample is correct; a truncated answer is incorrect, as in training."""
    return row["verdict"] == "correct" and row["finish_reason"] != "length"


@dataclass(frozen=True)
class _UnlikeTraining:
    """Names the ways in which a sample was prompted or graded differently from a rollout of training."""

    instruction: str
    thinking_format: ThinkingFormat
    fits: Callable[[str], bool]

    def __call__(self, row: Row) -> Iterator[str]:
        if row["verdict"] == "correct":
            if not is_correct(row):
                yield "right_but_cut_off"
            elif not self.fits(split_thinking(row["completion"], row["prompt"], self.thinking_format).answer):
                yield "right_in_another_form"
        asked = user_turn(row["question"], None, self.instruction)
        if row["question"] in row["prompt"] and asked not in row["prompt"]:
            yield "asked_otherwise"


def _manifest_settings(samples: Path) -> Row:
    """The sampler settings in the `manifest.json` that `math-eval run` writes beside its samples, if there is one."""
    path = samples.with_name(MANIFEST)
    found = parse_json(path.read_text("utf-8"), str(path)) if path.is_file() else {}
    settings = found.get("settings") if isinstance(found, dict) else None
    return {name: settings[name] for name in MANIFEST_FIELDS if name in settings} if isinstance(settings, dict) else {}


def _by_problem(
    files: Iterable[str | Path], top: float, unlike: _UnlikeTraining, tally: Tally, counts: Counter[str]
) -> dict[str, _Problem]:
    problems: dict[str, _Problem] = {}
    for path in files:
        for where, row in read_placed(path, "samples"):
            tally.read += 1
            problem = problems.setdefault(row["id"], _Problem(row["question"], row["answer"]))
            if not isinstance(row["ratio"], int | float):
                continue
            ratio = float(row["ratio"])
            at_ratio = problem.ratios.setdefault(ratio, _Counts())
            if (row["seed"], row["sample"]) in at_ratio.draws:
                raise DataError(
                    f"{where}: id {row['id']!r}: sample {row['sample']} of seed {row['seed']} at ratio {ratio:g} is "
                    "there twice, so one answer would count as two; remove the copy"
                )
            at_ratio.add(row)
            counts.update(unlike(row))
            problem.unique &= (row["question"], row["answer"]) == (problem.question, problem.answer)
            problem.gradable &= row["verdict"] != "gold_unparsable"
            _note_values(problem.sampler, row)
            if ratio == top and not problem.carried:
                problem.carried = {name: value for name, value in row.items() if name not in OUTCOME_FIELDS}
    return problems


def _note_values(seen: dict[str, list[Any]], row: Row) -> None:
    """Add the sampler settings of a row to those seen before."""
    for name in SAMPLER_FIELDS:
        if name in row and row[name] not in seen.setdefault(name, []):
            seen[name].append(row[name])


def _usable(key: str, problem: _Problem, ladder: list[float], needed: int, tally: Tally) -> bool:
    counts = {f"{ratio:g}": problem.ratios[ratio].samples if ratio in problem.ratios else 0 for ratio in ladder}
    missing = [ratio for ratio, count in counts.items() if not count]
    few = [ratio for ratio, count in counts.items() if count < needed]
    if missing:
        reason, detail = "ratio_not_sampled", f"no sample at {', '.join(missing)}"
    elif few:
        reason, detail = "too_few_samples", f"fewer than {needed} samples at {', '.join(few)}"
    elif not problem.unique:
        reason, detail = "id_not_unique", "two questions or answers share this id"
    elif not problem.gradable:
        reason, detail = "gold_unparsable", f"the reference answer {problem.answer!r} cannot be graded"
    else:
        return True
    tally.reject({"id": key}, reason, detail)
    return False


def _requested_ratios(keys: list[str], policy_share: float, ladder: list[float], seed: int) -> dict[str, float | None]:
    """The ratio that each prompt requests, in turn over the ladder; None if the model chooses."""
    order = list(keys)
    random.Random(seed).shuffle(order)
    fixed = order[round(policy_share * len(order)) :]
    requested: dict[str, float | None] = dict.fromkeys(keys)
    for number, key in enumerate(fixed):
        requested[key] = ladder[number % len(ladder)]
    return requested


def _teacher(problem: _Problem, ladder: list[float], confidence: float, threshold: float) -> TeacherRatio:
    counts = {ratio: (problem.ratios[ratio].correct, problem.ratios[ratio].samples) for ratio in ladder}
    return teacher_ratio(counts, confidence, threshold)


def _difficulty(problem: _Problem, ladder: list[float], requested: float | None, options: Row) -> str:
    """Index of the teacher ratio among the ratios whose accuracy is not the problem's floor.

    Our choice: without the floor's own samples, because in a group of the problems that these samples fail, their mean
    is lower than the accuracy that new samples have.
    """
    others = [ratio for ratio in ladder if ratio != (ladder[-1] if requested is None else requested)]
    ratio = _teacher(problem, others, options["confidence"], options["threshold"]).ratio if others else None
    return "none" if ratio is None else str(ladder.index(ratio))


def _prompt(
    problem: _Problem,
    ladder: list[float],
    teacher: TeacherRatio,
    requested: float | None,
    *,
    tokens: ControlTokens,
    options: Row,
) -> Row:
    top = problem.ratios[ladder[-1]]
    token = tokens.token("policy" if requested is None else requested)
    accuracies = {f"{ratio:g}": problem.ratios[ratio].accuracy for ratio in ladder}
    return {
        **problem.carried,
        "prompt": [{"role": "user", "content": user_turn(problem.question, token, options["instruction"])}],
        "mode": "policy" if requested is None else "fixed",
        "teacher_ratio": teacher.ratio,
        "difficulty": _difficulty(problem, ladder, requested, options),
        "reference_tokens": max(1, round(top.thinking / top.samples)),
        "reference_completion_tokens": max(1, round(top.completion / top.samples)),
        "reference_accuracy": accuracies[f"{ladder[-1]:g}"],
        "reference_accuracies": accuracies,
    }


def _summary(
    usable: dict[str, _Problem],
    ladder: list[float],
    teachers: dict[str, TeacherRatio],
    prompts: list[Row],
    tally: Tally,
) -> dict[str, Any]:
    reference = {row["id"]: row["reference_tokens"] for row in prompts}
    by_ratio: dict[str, Any] = {}
    sampler: dict[str, list[Any]] = {}
    for ratio in ladder:
        found = {key: problem.ratios[ratio] for key, problem in usable.items()}
        by_ratio[f"{ratio:g}"] = {
            "accuracy": fmean(counts.accuracy for counts in found.values()),
            "realised_ratio": sum(counts.thinking for counts in found.values())
            / sum(reference[key] * counts.samples for key, counts in found.items()),
            "samples": sum(counts.samples for counts in found.values()),
            "truncated": sum(counts.truncated for counts in found.values()),
        }
    for problem in usable.values():
        for name, values in problem.sampler.items():
            known = sampler.setdefault(name, [])
            known += [value for value in values if value not in known]
    histogram = Counter("none" if teacher.ratio is None else f"{teacher.ratio:g}" for teacher in teachers.values())
    return {
        "samples": tally.read,
        "prompts": tally.written,
        "rejected": tally.reasons,
        "policy_prompts": sum(row["mode"] == "policy" for row in prompts),
        "teacher_ratios": {name: histogram[name] for name in [*(f"{ratio:g}" for ratio in ladder), "none"]},
        "not_monotone": sum(not teacher.monotone for teacher in teachers.values()),
        "all_fail": sum(teacher.all_fail for teacher in teachers.values()),
        "ratios": by_ratio,
        "sampler": sampler,
    }


def _counted(problems: dict[str, _Problem], ladder: list[float]) -> int:
    """Number of samples at the ratios of the ladder."""
    return sum(
        found.samples for problem in problems.values() for ratio, found in problem.ratios.items() if ratio in ladder
    )
