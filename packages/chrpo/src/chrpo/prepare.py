"""Samples of the frozen model at every ratio, turned into prompts for reinforcement learning.

Each problem gets its teacher ratio, its reference length and its reference accuracy, all measured once and frozen.
Samples are counted as they are read, not held. Sampling and grading were done by whoever wrote them (`math-eval run`).

    prepare("samples.jsonl", "prompts.jsonl", tokens=ControlTokens.load("checkpoints/sft"))
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from . import manifest
from ._shared.control_tokens import INSTRUCTION, ControlTokens, user_turn
from ._shared.records import Row, Tally, read_records, write_json, write_records
from ._shared.thinking import split_thinking
from .core.ratios import CONFIDENCE, THRESHOLD, TeacherRatio, samples_needed, teacher_ratio
from .errors import DataError
from .grader import boxed_answers

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
"""Fields of a sample that belong to the sample; every other field belongs to the problem and is carried through."""
SAMPLER_FIELDS = ("temperature", "top_p", "top_k", "max_tokens", "model", "backend")
MANIFEST_FIELDS = SAMPLER_FIELDS[:4]
"""Those that the manifest beside a samples file may name in place of the rows."""


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
) -> tuple[Tally, dict[str, Any]]:
    """Write one prompt per problem to `out`, and what was seen to `OUT.summary.json`.

    Args:
        samples: one or several samples files, with every problem sampled at every ratio of the ladder.
        out: the prompts file.
        tokens: the ladder of the checkpoint that will be trained.
        policy_share: share of the prompts in which the model chooses; the others ask for the ratios in turn.
        confidence: of the bound in `teacher_ratio`.
        threshold: of the bound in `teacher_ratio`.
        instruction: first line of the user turn, the same as when the samples were drawn.
        seed: of the draw of fixed prompts.

    Returns:
        Counts of samples read, prompts written and rejected problems; and the summary.

    Raises:
        DataError: a bad row, an option out of range, or no problem that is sampled at the whole ladder.
    """
    if not 0 <= policy_share <= 1:
        raise DataError(f"policy share must be in [0, 1]; got {policy_share:g}")
    needed = samples_needed(confidence, threshold)
    files = [samples] if isinstance(samples, str | Path) else list(samples)
    _check_replaceable(Path(out))
    tally = Tally()
    ladder = list(tokens.ratios.values())
    counts: Counter[str] = Counter()
    problems = _by_problem(files, ladder[-1], instruction, tally, counts)
    usable = {key: found for key, found in problems.items() if _usable(key, found, ladder, needed, tally)}
    if not usable:
        raise DataError(
            f"{', '.join(map(str, files))}: no problem has the {needed} samples that a ratio needs at each of "
            f"{', '.join(f'{ratio:g}' for ratio in ladder)}; sample the whole ladder"
            + (f" ({tally.summary()})" if tally.rejected else "")
        )
    asked = _asked_ratios(list(usable), policy_share, ladder, seed)
    teachers = {
        key: teacher_ratio({r: (found.rungs[r].right, found.rungs[r].samples) for r in ladder}, confidence, threshold)
        for key, found in usable.items()
    }
    prompts = [_prompt(found, ladder, teachers[key], tokens, asked[key], instruction) for key, found in usable.items()]
    tally.written = write_records(out, prompts)
    tally.write_rejected(out)
    summary = _summary(usable, ladder, teachers, prompts, tally)
    for file in files:
        _note_values(summary["sampler"], _manifest_settings(Path(file)))
    summary |= {name: counts[name] for name in ("right_but_cut_off", "right_without_a_box", "asked_otherwise")}
    summary["samples_off_the_ladder"] = tally.read - sum(
        rung.samples for problem in problems.values() for ratio, rung in problem.rungs.items() if ratio in ladder
    )
    summary["settings"] = {
        "policy_share": policy_share,
        "confidence": confidence,
        "threshold": threshold,
        "instruction": instruction,
        "seed": seed,
    }
    write_json(summary_path(out), summary)
    return tally, summary


def _check_replaceable(out: Path) -> None:
    """Refuse to write over anything but prompts: OUT comes last, so forgetting it would name a samples file."""
    if out.exists():
        try:
            next(read_records(out, "rl_prompts"))
        except DataError as error:
            raise DataError(f"{out}: is there and is no prompts file; give another OUT, or move it away") from error


def summary_path(out: str | Path) -> Path:
    """`OUT.summary.json` beside the prompts file."""
    out = Path(out)
    return out.with_name(f"{out.name.removesuffix('.gz').removesuffix('.jsonl')}.summary.json")


@dataclass
class _Rung:
    """What the samples of one problem at one ratio add up to."""

    draws: set[tuple[int, int]] = field(default_factory=set)
    """Seed and number of each sample."""
    right: int = 0
    thinking: int = 0
    completion: int = 0
    truncated: int = 0

    @property
    def samples(self) -> int:
        return len(self.draws)

    @property
    def accuracy(self) -> float:
        return self.right / self.samples

    def add(self, row: Row) -> None:
        self.draws.add((row["seed"], row["sample"]))
        self.right += is_right(row)
        self.thinking += row["thinking_tokens"]
        self.completion += row["completion_tokens"]
        self.truncated += row["finish_reason"] == "length"


@dataclass
class _Problem:
    """All that is kept of a problem's samples."""

    question: str
    answer: str
    carried: Row = field(default_factory=dict)
    """The problem's own fields, of its first sample at the largest ratio."""
    rungs: dict[float, _Rung] = field(default_factory=dict)
    sampler: dict[str, list[Any]] = field(default_factory=dict)
    unique: bool = True
    gradable: bool = True


def is_right(row: Row) -> bool:
    """As in training, where an answer that the token limit cut off is none."""
    return row["verdict"] == "correct" and row["finish_reason"] != "length"


def _unlike_training(row: Row, instruction: str) -> Iterator[str]:
    """In what a sample was asked or judged otherwise than a rollout will be."""
    if row["verdict"] == "correct":
        if not is_right(row):
            yield "right_but_cut_off"
        elif not boxed_answers(split_thinking(row["completion"]).answer):
            yield "right_without_a_box"
    if row["question"] in row["prompt"] and user_turn(row["question"], None, instruction) not in row["prompt"]:
        yield "asked_otherwise"


def _manifest_settings(samples: Path) -> Row:
    """The sampler settings in the `manifest.json` that `math-eval run` leaves beside its samples; none without one."""
    path = samples.with_name(manifest.FILE_NAME)
    found = manifest.read(path) if path.is_file() else {}
    settings = found.get("settings") if isinstance(found, dict) else None
    return {name: settings[name] for name in MANIFEST_FIELDS if name in settings} if isinstance(settings, dict) else {}


def _by_problem(
    files: Iterable[str | Path], top: float, instruction: str, tally: Tally, counts: Counter[str]
) -> dict[str, _Problem]:
    problems: dict[str, _Problem] = {}
    for path in files:
        for row in read_records(path, "samples"):
            tally.read += 1
            problem = problems.setdefault(row["id"], _Problem(row["question"], row["answer"]))
            if not isinstance(row["ratio"], int | float):
                continue
            ratio = float(row["ratio"])
            rung = problem.rungs.setdefault(ratio, _Rung())
            if (row["seed"], row["sample"]) in rung.draws:
                raise DataError(
                    f"{path}: id {row['id']!r}: sample {row['sample']} of seed {row['seed']} at ratio {ratio:g} is "
                    "there twice, which would count one answer as two; remove the copy"
                )
            rung.add(row)
            counts.update(_unlike_training(row, instruction))
            problem.unique &= (row["question"], row["answer"]) == (problem.question, problem.answer)
            problem.gradable &= row["verdict"] != "gold_unparsable"
            _note_values(problem.sampler, row)
            if ratio == top and not problem.carried:
                problem.carried = {name: value for name, value in row.items() if name not in OUTCOME_FIELDS}
    return problems


def _note_values(seen: dict[str, list[Any]], row: Row) -> None:
    """Add the sampler settings that a row names to those seen before."""
    for name in SAMPLER_FIELDS:
        if name in row and row[name] not in seen.setdefault(name, []):
            seen[name].append(row[name])


def _usable(key: str, problem: _Problem, ladder: list[float], needed: int, tally: Tally) -> bool:
    counts = {f"{ratio:g}": problem.rungs[ratio].samples if ratio in problem.rungs else 0 for ratio in ladder}
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


def _asked_ratios(keys: list[str], policy_share: float, ladder: list[float], seed: int) -> dict[str, float | None]:
    """None for a policy prompt; the fixed ones take the ladder in turn."""
    order = list(keys)
    random.Random(seed).shuffle(order)
    fixed = order[round(policy_share * len(order)) :]
    asked: dict[str, float | None] = dict.fromkeys(keys)
    for number, key in enumerate(fixed):
        asked[key] = ladder[number % len(ladder)]
    return asked


def _prompt(
    problem: _Problem,
    ladder: list[float],
    teacher: TeacherRatio,
    tokens: ControlTokens,
    asked: float | None,
    instruction: str,
) -> Row:
    top = problem.rungs[ladder[-1]]
    token = tokens.token("policy" if asked is None else asked)
    accuracies = {f"{ratio:g}": problem.rungs[ratio].accuracy for ratio in ladder}
    return {
        **problem.carried,
        "prompt": [{"role": "user", "content": user_turn(problem.question, token, instruction)}],
        "mode": "policy" if asked is None else "fixed",
        "teacher_ratio": teacher.ratio,
        "difficulty": "none" if teacher.ratio is None else str(ladder.index(teacher.ratio)),
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
    rungs: dict[str, Any] = {}
    sampler: dict[str, list[Any]] = {}
    for ratio in ladder:
        found = {key: problem.rungs[ratio] for key, problem in usable.items()}
        rungs[f"{ratio:g}"] = {
            "accuracy": fmean(rung.accuracy for rung in found.values()),
            "realised_ratio": sum(rung.thinking for rung in found.values())
            / sum(reference[key] * rung.samples for key, rung in found.items()),
            "samples": sum(rung.samples for rung in found.values()),
            "truncated": sum(rung.truncated for rung in found.values()),
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
        "ratios": rungs,
        "sampler": sampler,
    }
