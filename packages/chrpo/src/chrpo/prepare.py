"""`chrpo prepare`: from samples of the frozen model to prompts for reinforcement learning.

Reference length and accuracy of each problem, and its teacher ratio from samples at every ratio, are measured here once
and do not change during training. A finished output is left alone, and a changed one is refused, as
`_shared/output_file.py` describes. Counting the samples is left to `samples`, sampling and grading to `math-eval run`.

    prepare("samples.jsonl", "prompts.jsonl", tokens=ControlTokens.load("checkpoints/sft"))
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from ._shared.control_tokens import INSTRUCTION, ControlTokens, user_turn
from ._shared.lock import locked
from ._shared.output_file import OutputFile
from ._shared.records import Row, Tally, path_beside, write_json, write_records
from ._shared.runs import digest
from ._shared.thinking import THINK, ThinkingFormat
from ._shared.thinking_formats import given_format
from .answer_format import AnswerFormat, answer_check, format_name
from .core.ratios import CONFIDENCE, THRESHOLD, TeacherRatio, samples_needed, teacher_ratio
from .errors import DataError
from .prompts import WITHOUT_LADDER
from .samples import WHOLE, Counts, Problem, UnlikeTraining, by_problem, counted, manifest_settings, note_values

COMMAND = "chrpo prepare"
POLICY_SHARE = 0.8
"""Our choice: a model forgets to follow requested ratios that are not among the prompts, see docs/objective.md."""

_SUMMARY = "summary.json"
_UNLIKE = ("right_but_cut_off", "right_in_another_form", "asked_otherwise")


def prepare(
    samples: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    tokens: ControlTokens | None,
    policy_share: float = POLICY_SHARE,
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
        samples: Path of a samples file, or of several, with every problem sampled at every ratio of the ladder, or
            without a ratio if there are no control tokens.
        out: Path of the prompts file to write.
        tokens: Control tokens of the checkpoint that will be trained; None if it has none.
        policy_share: Share of prompts in which the model chooses the ratio; the others request the ratios in turn.
        confidence: Confidence level of the lower accuracy bound in `teacher_ratio`.
        threshold: Accuracy that the bound must reach.
        instruction: First line of the user turn; use the instruction the samples were drawn with.
        seed: Random seed for choosing which prompts request a ratio.
        thinking_format: Name of the checkpoint's thinking format, or a file such as its `thinking_format.json`.
        answer_format: Form of the answer in training; see `RolloutReader`.
        overwrite: True to replace an output that was made with other settings, or to make a finished one again.
        notify: Function that gets lines about the work before it, such as the thinking format of the checkpoint.

    Returns:
        The counts of samples read, prompts written and problems rejected, and the summary; None if `out` was finished
        before, with the same settings and samples.

    Raises:
        DataError: a row is bad, an option is out of range or needs control tokens, no problem is sampled at the whole
            ladder, or `out` was made with other settings, by another program, or changed since.
    """
    _check_shares(tokens, policy_share, confidence, threshold)
    files = [samples] if isinstance(samples, str | Path) else list(samples)
    options: Row = {"policy_share": policy_share, "confidence": confidence, "threshold": threshold, "seed": seed}
    options |= {"instruction": instruction, **_other_forms(thinking := given_format(thinking_format), answer_format)}
    output = _output(Path(out), files, tokens, options)
    with locked(Path(out)):
        if output.state(overwrite=overwrite) == "finished":
            return None
        if notify is not None:
            notify(f"thinking format: {thinking}")
        if notify is not None and tokens is None:
            notify(WITHOUT_LADDER)
        unlike = UnlikeTraining(instruction, thinking, answer_check(answer_format))
        tally, prompts, summary = _measure(files, tokens, options, unlike)
        output.start()
        write_records(output.growing, prompts)
        tally.write_rejected(output.growing)
        write_json(path_beside(output.growing, _SUMMARY), summary)
        output.publish(("chrpo",))
    return tally, summary


def _check_shares(tokens: ControlTokens | None, policy_share: float, confidence: float, threshold: float) -> None:
    if not 0 <= policy_share <= 1:
        raise DataError(f"policy share must be in [0, 1]; got {policy_share:g}")
    if tokens is None and (policy_share, confidence, threshold) != (POLICY_SHARE, CONFIDENCE, THRESHOLD):
        raise DataError(
            "policy_share, confidence and threshold are about ratios, and the checkpoint has no control tokens; leave "
            "them out"
        )


def _other_forms(thinking_format: ThinkingFormat, answer_format: AnswerFormat) -> Row:
    """The settings of thinking and answer that are not the usual ones."""
    found: Row = {} if thinking_format == THINK else {"thinking_format": asdict(thinking_format)}
    return found if answer_format == "boxed" else {**found, "answer_format": format_name(answer_format)}


def _output(out: Path, files: Sequence[str | Path], tokens: ControlTokens | None, options: Row) -> OutputFile:
    """The prompts file, and everything that it depends on."""
    settings = {
        **options,
        "samples": [digest(file) for file in files],
        "sampler": [manifest_settings(Path(file)) for file in files],
        "control_tokens": tokens and tokens.content,
    }
    output = OutputFile(out, ("rejected.jsonl", _SUMMARY), COMMAND, settings)
    output.check_apart(map(Path, files))
    return output


def _measure(
    files: Sequence[str | Path], tokens: ControlTokens | None, options: Row, unlike: UnlikeTraining
) -> tuple[Tally, list[Row], dict[str, Any]]:
    """The counts, the prompts and the summary of samples files."""
    needed = samples_needed(options["confidence"], options["threshold"]) if tokens else 1
    tally, counts = Tally(), Counter[str]()
    ladder = list(tokens.ratios.values()) if tokens else [WHOLE]
    problems = by_problem(files, ladder if tokens else None, unlike, tally, counts)
    names = {ratio: f"{ratio:g}" if tokens else "no ratio" for ratio in ladder}
    usable = {key: found for key, found in problems.items() if _usable(key, found, names, needed, tally)}
    if not usable:
        found = f" ({tally.summary()})" if tally.rejected else ""
        wanted = "a sample without a ratio, and the checkpoint has no control_tokens.json; sample it without --ratio"
        if tokens is not None:
            shown = ", ".join(names.values())
            wanted = f"the {needed} samples that a ratio needs at each of {shown}; sample the whole ladder"
        raise DataError(f"{', '.join(map(str, files))}: no problem has {wanted}{found}")
    if tokens is None:
        prompts = [_plain_prompt(found, options) for found in usable.values()]
        summary = _plain_summary(usable, tally)
    else:
        requested = _requested_ratios(list(usable), options["policy_share"], ladder, options["seed"])
        teachers = {key: _teacher(found, ladder, options) for key, found in usable.items()}
        prompts = [
            _prompt(found, teachers[key], requested[key], tokens=tokens, options=options)
            for key, found in usable.items()
        ]
        summary = _summary(usable, ladder, teachers, prompts, tally)
    tally.written = summary["prompts"] = len(prompts)
    for file in files:
        note_values(summary["sampler"], manifest_settings(Path(file)))
    summary |= {name: counts[name] for name in _UNLIKE}
    summary["samples_off_the_ladder" if tokens else "samples_at_a_ratio"] = tally.read - counted(problems, ladder)
    return tally, prompts, summary | {"settings": options}


def _usable(key: str, problem: Problem, names: Mapping[float, str], needed: int, tally: Tally) -> bool:
    counts = {name: problem.ratios[at].samples if at in problem.ratios else 0 for at, name in names.items()}
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


def _teacher(problem: Problem, ladder: list[float], options: Row) -> TeacherRatio:
    counts = {ratio: (problem.ratios[ratio].correct, problem.ratios[ratio].samples) for ratio in ladder}
    return teacher_ratio(counts, options["confidence"], options["threshold"])


def _difficulty(problem: Problem, ladder: list[float], requested: float | None, options: Row) -> str:
    """Index of the teacher ratio among the ratios whose accuracy is not the problem's floor.

    Our choice: without the floor's own samples, because in a group of the problems that these samples fail, their mean
    is lower than the accuracy that new samples have.
    """
    others = [ratio for ratio in ladder if ratio != (ladder[-1] if requested is None else requested)]
    ratio = _teacher(problem, others, options).ratio if others else None
    return "none" if ratio is None else str(ladder.index(ratio))


def _prompt(
    problem: Problem, teacher: TeacherRatio, requested: float | None, *, tokens: ControlTokens, options: Row
) -> Row:
    ladder = list(tokens.ratios.values())
    top = problem.ratios[ladder[-1]]
    asked = tokens.request("policy" if requested is None else requested)
    accuracies = {f"{ratio:g}": problem.ratios[ratio].accuracy for ratio in ladder}
    return {
        **problem.carried,
        "prompt": [{"role": "user", "content": user_turn(problem.question, asked, options["instruction"])}],
        "mode": "policy" if requested is None else "fixed",
        "teacher_ratio": teacher.ratio,
        "difficulty": _difficulty(problem, ladder, requested, options),
        **_reference(top),
        "reference_accuracies": accuracies,
    }


def _plain_prompt(problem: Problem, options: Row) -> Row:
    """The prompt of a problem for a checkpoint without control tokens."""
    whole = problem.ratios[WHOLE]
    return {
        **problem.carried,
        "prompt": [{"role": "user", "content": user_turn(problem.question, None, options["instruction"])}],
        "mode": "policy",
        "teacher_ratio": None,
        **_reference(whole),
        **_plain_difficulty(whole),
    }


def _plain_difficulty(whole: Counts) -> Row:
    """The difficulty, from every second sample, and the accuracy of the others; nothing with one sample.

    Our choice: two halves, because in a group of the problems that some samples fail, their mean is lower than the
    accuracy that new samples have. Easy, medium and hard are thirds of the accuracy.
    """
    (correct, samples), (others_correct, others) = whole.halves
    if not others:
        return {}
    share = others_correct / others
    name = "hard" if share <= 1 / 3 else "easy" if share > 2 / 3 else "medium"
    return {"difficulty": name, "held_out_accuracy": correct / samples}


def _reference(counts: Counts) -> Row:
    return {
        "reference_tokens": max(1, round(counts.thinking / counts.samples)),
        "reference_completion_tokens": max(1, round(counts.completion / counts.samples)),
        "reference_accuracy": counts.accuracy,
    }


def _summary(
    usable: dict[str, Problem],
    ladder: list[float],
    teachers: dict[str, TeacherRatio],
    prompts: list[Row],
    tally: Tally,
) -> dict[str, Any]:
    reference = {row["id"]: row["reference_tokens"] for row in prompts}
    by_ratio: dict[str, Any] = {}
    for ratio in ladder:
        found = {key: problem.ratios[ratio] for key, problem in usable.items()}
        by_ratio[f"{ratio:g}"] = {
            "accuracy": fmean(counts.accuracy for counts in found.values()),
            "realised_ratio": sum(counts.thinking for counts in found.values())
            / sum(reference[key] * counts.samples for key, counts in found.items()),
            "samples": sum(counts.samples for counts in found.values()),
            "truncated": sum(counts.truncated for counts in found.values()),
        }
    histogram = Counter("none" if teacher.ratio is None else f"{teacher.ratio:g}" for teacher in teachers.values())
    return {
        "samples": tally.read,
        "rejected": tally.reasons,
        "policy_prompts": sum(row["mode"] == "policy" for row in prompts),
        "teacher_ratios": {name: histogram[name] for name in [*(f"{ratio:g}" for ratio in ladder), "none"]},
        "not_monotone": sum(not teacher.monotone for teacher in teachers.values()),
        "all_fail": sum(teacher.all_fail for teacher in teachers.values()),
        "ratios": by_ratio,
        "sampler": _sampler(usable),
    }


def _plain_summary(usable: dict[str, Problem], tally: Tally) -> dict[str, Any]:
    found = [problem.ratios[WHOLE] for problem in usable.values()]
    samples = sum(counts.samples for counts in found)
    return {
        "samples": tally.read,
        "rejected": tally.reasons,
        "accuracy": fmean(counts.accuracy for counts in found),
        "thinking_tokens": sum(counts.thinking for counts in found) / samples,
        "completion_tokens": sum(counts.completion for counts in found) / samples,
        "truncated": sum(counts.truncated for counts in found),
        "sampler": _sampler(usable),
    }


def _sampler(usable: dict[str, Problem]) -> dict[str, list[Any]]:
    """The sampler settings of all problems."""
    sampler: dict[str, list[Any]] = {}
    for problem in usable.values():
        for name, values in problem.sampler.items():
            known = sampler.setdefault(name, [])
            known += [value for value in values if value not in known]
    return sampler
