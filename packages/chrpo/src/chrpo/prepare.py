"""Samples of the frozen model at every ratio, turned into prompts for reinforcement learning.

Each problem gets its teacher ratio, its reference length and its reference accuracy, all measured once and frozen.
Sampling and grading were done by whoever wrote the samples (`math-eval run`).

    prepare("samples.jsonl", "prompts.jsonl", tokens=ControlTokens.load("checkpoints/sft"))
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from .control import INSTRUCTION, ControlTokens, user_turn
from .core.ratios import CONFIDENCE, THRESHOLD, TeacherRatio, samples_needed, teacher_ratio
from .errors import DataError
from .records import Row, Tally, read_records, write_json, write_records

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
_TEXTS = frozenset({"prompt", "completion"})
"""Never looked at, and most of a sample: not kept, so that memory does not depend on how long completions are."""
SAMPLER_FIELDS = ("temperature", "top_p", "top_k", "max_tokens", "model", "backend")


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
    tally = Tally()
    ladder = list(tokens.ratios.values())
    problems = _by_problem(files, tally)
    usable = {key: rows for key, rows in problems.items() if _usable(key, rows, ladder, needed, tally)}
    if not usable:
        raise DataError(
            f"{', '.join(map(str, files))}: no problem has the {needed} samples that a ratio needs at each of "
            f"{', '.join(f'{ratio:g}' for ratio in ladder)}; sample the whole ladder"
            + (f" ({tally.summary()})" if tally.rejected else "")
        )
    asked = _asked_ratios(list(usable), policy_share, ladder, seed)
    teachers = {
        key: teacher_ratio({r: _right(rows[r]) for r in ladder}, confidence, threshold) for key, rows in usable.items()
    }
    prompts = [_prompt(rows, ladder, teachers[key], tokens, asked[key], instruction) for key, rows in usable.items()]
    tally.written = write_records(out, prompts)
    tally.write_rejected(out)
    summary = _summary(usable, ladder, teachers, prompts, tally)
    summary["settings"] = {
        "policy_share": policy_share,
        "confidence": confidence,
        "threshold": threshold,
        "instruction": instruction,
        "seed": seed,
    }
    write_json(summary_path(out), summary)
    return tally, summary


def summary_path(out: str | Path) -> Path:
    """`OUT.summary.json` beside the prompts file."""
    out = Path(out)
    return out.with_name(f"{out.name.removesuffix('.gz').removesuffix('.jsonl')}.summary.json")


Ladder = dict[float, list[Row]]


def _by_problem(files: Iterable[str | Path], tally: Tally) -> dict[str, Ladder]:
    problems: dict[str, Ladder] = {}
    seen: set[tuple[str, float, int, int]] = set()
    for path in files:
        for row in read_records(path, "samples"):
            tally.read += 1
            rungs = problems.setdefault(row["id"], defaultdict(list))
            if not isinstance(row["ratio"], int | float):
                continue
            ratio = float(row["ratio"])
            draw = (row["id"], ratio, row["seed"], row["sample"])
            if draw in seen:
                raise DataError(
                    f"{path}: id {row['id']!r}: sample {row['sample']} of seed {row['seed']} at ratio {ratio:g} is "
                    "there twice, which would count one answer as two; remove the copy"
                )
            seen.add(draw)
            rungs[ratio].append({name: value for name, value in row.items() if name not in _TEXTS})
    return problems


def _usable(key: str, rungs: Ladder, ladder: list[float], needed: int, tally: Tally) -> bool:
    rows = [row for samples in rungs.values() for row in samples]
    problem = {"id": key}
    missing = [f"{ratio:g}" for ratio in ladder if not rungs.get(ratio)]
    if missing:
        tally.reject(problem, "ratio_not_sampled", f"no sample at {', '.join(missing)}")
        return False
    few = [f"{ratio:g}" for ratio in ladder if len(rungs[ratio]) < needed]
    if few:
        tally.reject(problem, "too_few_samples", f"fewer than {needed} samples at {', '.join(few)}")
        return False
    if len({(row["question"], row["answer"]) for row in rows}) > 1:
        tally.reject(problem, "id_not_unique", "two questions or answers share this id")
        return False
    if any(row["verdict"] == "gold_unparsable" for row in rows):
        tally.reject(problem, "gold_unparsable", f"the reference answer {rows[0]['answer']!r} cannot be graded")
        return False
    return True


def _asked_ratios(keys: list[str], policy_share: float, ladder: list[float], seed: int) -> dict[str, float | None]:
    """None for a policy prompt; the fixed ones take the ladder in turn."""
    order = list(keys)
    random.Random(seed).shuffle(order)
    fixed = order[round(policy_share * len(order)) :]
    asked: dict[str, float | None] = dict.fromkeys(keys)
    for number, key in enumerate(fixed):
        asked[key] = ladder[number % len(ladder)]
    return asked


def _right(rows: list[Row]) -> tuple[int, int]:
    return sum(row["verdict"] == "correct" for row in rows), len(rows)


def _share_right(rows: list[Row]) -> float:
    right, total = _right(rows)
    return right / total


def _prompt(
    rungs: Ladder,
    ladder: list[float],
    teacher: TeacherRatio,
    tokens: ControlTokens,
    asked: float | None,
    instruction: str,
) -> Row:
    top = rungs[ladder[-1]]
    first = top[0]
    token = tokens.token("policy" if asked is None else asked)
    accuracies = {f"{ratio:g}": _share_right(rungs[ratio]) for ratio in ladder}
    return {
        **{name: value for name, value in first.items() if name not in OUTCOME_FIELDS},
        "prompt": [{"role": "user", "content": user_turn(first["question"], token, instruction)}],
        "mode": "policy" if asked is None else "fixed",
        "teacher_ratio": teacher.ratio,
        "difficulty": "none" if teacher.ratio is None else str(ladder.index(teacher.ratio)),
        "reference_tokens": max(1, round(fmean(row["thinking_tokens"] for row in top))),
        "reference_completion_tokens": max(1, round(fmean(row["completion_tokens"] for row in top))),
        "reference_accuracy": accuracies[f"{ladder[-1]:g}"],
        "reference_accuracies": accuracies,
    }


def _summary(
    usable: dict[str, Ladder],
    ladder: list[float],
    teachers: dict[str, TeacherRatio],
    prompts: list[Row],
    tally: Tally,
) -> dict[str, Any]:
    reference = {row["id"]: row["reference_tokens"] for row in prompts}
    rungs: dict[str, Any] = {}
    for ratio in ladder:
        rows = [row for problem in usable.values() for row in problem[ratio]]
        thinking = sum(row["thinking_tokens"] for row in rows)
        rungs[f"{ratio:g}"] = {
            "accuracy": fmean(_share_right(problem[ratio]) for problem in usable.values()),
            "realised_ratio": thinking / sum(reference[row["id"]] for row in rows),
            "samples": len(rows),
            "truncated": sum(row["finish_reason"] == "length" for row in rows),
        }
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
        "sampler": _sampler(usable),
    }


def _sampler(usable: dict[str, Ladder]) -> dict[str, list[Any]]:
    """The sampler settings that the rows name, each with all its values."""
    rows = (row for problem in usable.values() for samples in problem.values() for row in samples)
    seen: dict[str, list[Any]] = {}
    for row in rows:
        for name in SAMPLER_FIELDS:
            if name in row and row[name] not in seen.setdefault(name, []):
                seen[name].append(row[name])
    return seen
