"""Which traces become policy rows, and with which target ratio (section 2.2).

A policy row asks for `<COMP_POLICY>` and opens with its target ratio. The target is the ratio that a teacher file
measured for the problem, or one drawn uniformly. The rows themselves are left to `rows`.

    targets = read_teacher("teacher.jsonl")                                  # {'p1': 0.4, 'p2': None}
    choose_policy_rows(side, tokens, MixSettings(), teacher=targets, rejects=[])   # [(0, 0.4), …]
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft._shared.records import read_placed
from ratio_sft.errors import DataError
from ratio_sft.settings import MixSettings

from .acceptance import Reject, Usable


def read_teacher(path: str | Path) -> dict[str, float | None]:
    """The teacher ratio of each problem id.

    Args:
        path: File of the `rl_prompts` contract.

    Raises:
        DataError: the file breaks its contract, or two rows of one problem have different teacher ratios.
    """
    ratios: dict[str, float | None] = {}
    for where, row in read_placed(path, "rl_prompts"):
        if ratios.setdefault(row["id"], row["teacher_ratio"]) != row["teacher_ratio"]:
            found = f"{ratios[row['id']]} and {row['teacher_ratio']}"
            raise DataError(f"{where}: problem {row['id']!r} has teacher ratios {found}; remove one of its rows")
    return ratios


def choose_policy_rows(
    side: Sequence[Usable],
    tokens: ControlTokens,
    settings: MixSettings,
    *,
    teacher: Mapping[str, float | None] | None,
    rejects: list[Reject],
) -> list[tuple[int, float]]:
    """Trace number and target ratio of each policy row.

    Every candidate is used once before one is used twice, so that all problems have the same weight.

    Args:
        side: Traces to choose from.
        tokens: The ladder.
        settings: Settings of the mixture: share, quotas and seed.
        teacher: Problem id -> measured ratio, None for a problem without one; None for targets drawn uniformly.
        rejects: List to which the traces without a usable teacher ratio are added.
    """
    wanted = round(len(side) * len(tokens.ratios) * settings.policy_share / (1 - settings.policy_share))
    if not wanted:
        return []
    draw = random.Random(f"{settings.seed}:policy")
    targets = _targets(side, list(tokens.ratios.values()), teacher, rejects)
    pools = [(list(tokens.ratios.values()), wanted)]
    if settings.policy_quotas:
        pools = [([ratio], round(wanted * share)) for ratio, share in settings.policy_quotas]
    rows: list[tuple[int, float]] = []
    for ratios, count in pools:
        candidates = [number for number, own in targets.items() if not set(ratios).isdisjoint(own)]
        last = len(rows) + count if candidates else 0
        while len(rows) < last:
            for number in draw.sample(candidates, min(len(candidates), last - len(rows))):
                rows.append((number, draw.choice([ratio for ratio in targets[number] if ratio in ratios])))
    return rows


def check_policy_rows(
    rows: Sequence[tuple[int, float]], settings: MixSettings, teacher: Mapping[str, float | None] | None
) -> None:
    """Refuse a teacher of other problems, and a quota that no problem can fill.

    Raises:
        DataError: no policy row was made although a teacher is given, or a quota names a ratio that is no target.
    """
    if teacher is not None and settings.policy_share and not rows:
        raise DataError(
            "no question of the traces has a teacher ratio of the ladder; is --teacher of the same problems?"
        )
    found = {ratio for _, ratio in rows}
    for ratio, share in settings.policy_quotas:
        if found and share and ratio not in found:
            raise DataError(f"policy_quotas asks for ratio {ratio:g}, which is no question's target; give it 0")


def _targets(
    side: Sequence[Usable],
    ladder: list[float],
    teacher: Mapping[str, float | None] | None,
    rejects: list[Reject],
) -> dict[int, Sequence[float]]:
    """Trace number -> possible target ratios; one trace of each problem."""
    problems: dict[str, Usable] = {}
    for trace in side:
        problems.setdefault(trace.id, trace)
    if teacher is None:
        return {trace.number: ladder for trace in problems.values()}
    return {
        trace.number: [float(teacher[name] or 0)]
        for name, trace in problems.items()
        if _has_teacher_ratio(trace, ladder, teacher, rejects)
    }


def _has_teacher_ratio(
    trace: Usable, ladder: Sequence[float], teacher: Mapping[str, float | None], rejects: list[Reject]
) -> bool:
    """Whether the teacher has a ratio of the ladder for the trace's problem; another ratio, or none, is a reject."""
    if trace.id not in teacher:
        return False
    ratio = teacher[trace.id]
    if ratio is None:
        rejects.append(Reject(trace.number, "no_teacher_ratio", "no ratio was correct often enough", policy=True))
    elif ratio not in ladder:
        rejects.append(Reject(trace.number, "teacher_ratio_not_in_ladder", f"{ratio:g}", policy=True))
    return ratio in ladder
