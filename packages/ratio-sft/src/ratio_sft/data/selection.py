"""Which usable traces are held out, which give which rows: the part of a mixture that depends on all of them.

Only a trace's number, id, length and question hash are needed. Usability is left to `acceptance`, the choice of policy
rows to `policy_rows`, the rows themselves to `rows`.

    selection = select(usable, tokens, MixSettings(), teacher=None)
    selection.sides["train"].fixed                                         # [0, 1, 3, …]
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft.errors import DataError
from ratio_sft.settings import MixSettings

from .acceptance import Reject, Usable
from .policy_rows import check_policy_rows, choose_policy_rows

_LENGTH_BINS = 5


@dataclass(frozen=True)
class Side:
    """The traces to train on, or those held out.

    Args:
        fixed: Numbers of the traces that give a row for every ratio.
        plain: Numbers of the traces among them whose full-length row has no control token.
        policy: Trace number and target ratio of each policy row.
    """

    fixed: list[int]
    plain: set[int]
    policy: list[tuple[int, float]]


@dataclass(frozen=True)
class Selection:
    """What becomes of the usable traces.

    Args:
        tokens: The ladder.
        policy_targets: "teacher" if the targets of policy rows were measured, "uninformed" if they were drawn.
        sides: Traces by side, "train" and "heldout".
        questions: Number of questions by side.
        rejects: Traces that are left out.
    """

    tokens: ControlTokens
    policy_targets: str
    sides: dict[str, Side] = field(default_factory=dict)
    questions: dict[str, int] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)

    @property
    def rows(self) -> dict[str, int]:
        """Number of rows of each side."""
        return {name: len(side.fixed) * len(self.tokens.ratios) + len(side.policy) for name, side in self.sides.items()}


def select(
    usable: list[Usable], tokens: ControlTokens, settings: MixSettings, *, teacher: Mapping[str, float | None] | None
) -> Selection:
    """Decide what becomes of each usable trace.

    Args:
        usable: The usable traces in the order of their numbers; at least one.
        tokens: The ladder.
        settings: Settings of the mixture.
        teacher: Problem id -> measured ratio, None for a problem without one. Only these problems then become policy
            rows. None draws the targets uniformly.

    Raises:
        DataError: the questions cannot be split, the teacher is of other problems, or a quota cannot be filled.
    """
    selection = Selection(tokens, "uninformed" if teacher is None else "teacher")
    if settings.traces is not None:
        usable = _balance(usable, settings.traces, settings.seed, selection.rejects)
    heldout = _heldout(usable, settings)
    for name in ("train", "heldout"):
        side = [trace for trace in usable if (trace.question in heldout) == (name == "heldout")]
        fixed = [trace.number for trace in side]
        draw = random.Random(f"{settings.seed}:plain")
        plain = set(draw.sample(fixed, round(len(fixed) * settings.plain_share)))
        policy = choose_policy_rows(side, tokens, settings, teacher=teacher, rejects=selection.rejects)
        selection.sides[name] = Side(fixed, plain, policy)
        selection.questions[name] = len({trace.question for trace in side})
    check_policy_rows(selection.sides["train"].policy, settings, teacher)
    return selection


def _balance(usable: list[Usable], wanted: int, seed: int, rejects: list[Reject]) -> list[Usable]:
    """`wanted` traces, taken in turn from five bins of thinking length of equal width; the others are rejected."""
    lengths = [trace.tokens for trace in usable]
    shortest, longest = min(lengths), max(lengths)
    width = (longest - shortest + 1) / _LENGTH_BINS
    bins: list[list[int]] = [[] for _ in range(_LENGTH_BINS)]
    order = list(range(len(usable)))
    random.Random(f"{seed}:balance").shuffle(order)
    for index in order:
        bins[int((lengths[index] - shortest) / width)].append(index)
    turns = sorted((place, number, index) for number, found in enumerate(bins) for place, index in enumerate(found))
    kept = {index for *_, index in turns[:wanted]}
    rejects += [
        Reject(trace.number, "surplus_of_its_length", f"{trace.tokens} tokens")
        for index, trace in enumerate(usable)
        if index not in kept
    ]
    return [usable[index] for index in sorted(kept)]


def _heldout(usable: list[Usable], settings: MixSettings) -> set[bytes]:
    """The held-out questions: those with the smallest seeded hashes, whatever the order of rows."""
    if not settings.heldout_share:
        return set()
    questions = sorted({trace.question for trace in usable})
    if len(questions) < 2:
        raise DataError("one question cannot be split; add traces or set --heldout-share 0")
    return set(questions[: min(len(questions) - 1, max(1, round(len(questions) * settings.heldout_share)))])
