r"""Mix compressed traces into rows that teach every ratio of a ladder, and the policy token.

A correct trace gives one row for each ratio, or none at all (the paper's strict intersection, section 2.1), so that
ratios differ in length and nothing else. Only each trace's number, length and question hash are kept in memory. The
rows themselves are left to `rows`, policy rows to `policy_rows`, tokenising to `training.encoding`.

    mixture = mix(RowFile("compressed.jsonl", "compressed"), MixSettings())
    mixture.train[0]["completion"][0]["content"]      # '<COMP_20>\n<think>\n48 / 2 = 24\n</think>\n\n\boxed{24}'
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft._shared.records import Row, Tally
from ratio_sft._shared.thinking import THINK
from ratio_sft._shared.thinking_formats import given_format
from ratio_sft.errors import DataError
from ratio_sft.settings import MixSettings

from .clean import below_floor, collapse, lone_surrogate
from .decontaminate import TestQuestions
from .policy_rows import check_policy_rows, choose_policy_rows
from .questions import question_key, text_hash
from .row_file import RowFile
from .rows import MixedRows, Traces, nearest

_LENGTH_BINS = 5
_FLOAT_SLACK = 1e-9


@dataclass
class Mixture:
    """Rows to train on, rows held out, and how they were chosen.

    Args:
        train: Rows to train on.
        heldout: Rows of the held-out questions.
        tokens: The ladder.
        tokenizer: Name of the tokenizer that counted the traces.
        policy_targets: "teacher" if the targets of policy rows were measured, "uninformed" if they were drawn.
        questions: Number of questions in `train` and `heldout`.
        tally: Counts of traces read, rows written, and traces rejected by reason.
    """

    train: MixedRows
    heldout: MixedRows
    tokens: ControlTokens
    tokenizer: str
    policy_targets: str
    questions: dict[str, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What is kept in memory of a usable trace."""

    number: int
    tokens: int
    """Number of tokens of its whole thinking."""
    question: bytes
    """A seeded hash of `question_key`, which also decides whether the question is held out."""


def mix(
    traces: Traces,
    settings: MixSettings,
    *,
    teacher: Mapping[str, float | None] | None = None,
    tests: TestQuestions | None = None,
) -> Mixture:
    """Build the mixture.

    Args:
        traces: Rows of the `compressed` contract; each is read several times.
        settings: Settings of the mixture.
        teacher: Problem id -> measured ratio, None for a problem without one (see `policy_rows.read_teacher`). Only
            these problems then become policy rows. None draws the targets uniformly.
        tests: Test questions to exclude; a trace of one of them is rejected.

    Raises:
        DataError: a trace appears twice, one id belongs to two questions, several tokenizers counted the traces, a
            ratio of the ladder is in no trace, or no trace is usable.
    """
    found, tokenizer = _survey(traces)
    tokens = _ladder(settings, found, _place(traces))
    tally = Tally()
    accepted = [
        _Accepted(
            number,
            max((entry["original_tokens"] for entry in row["compressions"]), default=0),
            text_hash(f"{settings.seed}:{question_key(row['question'])}"),
        )
        for number, row in enumerate(traces)
        if _accept(row, tokens, settings, tests, tally)
    ]
    if settings.traces is not None:
        accepted = _balance(traces, accepted, settings.traces, settings.seed, tally)
    if not accepted:
        raise DataError(f"{_place(traces)}: no trace is usable: {tally.summary()}")
    heldout = _heldout(accepted, settings)
    sides = {
        "train": [trace for trace in accepted if trace.question not in heldout],
        "heldout": [trace for trace in accepted if trace.question in heldout],
    }
    mixed = {
        name: _mixed(traces, [trace.number for trace in side], tokens, settings, teacher=teacher, tally=tally)
        for name, side in sides.items()
    }
    check_policy_rows(mixed["train"].policy, settings, teacher)
    tally.written = len(mixed["train"]) + len(mixed["heldout"])
    return Mixture(
        **mixed,
        tokens=tokens,
        tokenizer=tokenizer,
        policy_targets="uninformed" if teacher is None else "teacher",
        questions={name: len({trace.question for trace in side}) for name, side in sides.items()},
        tally=tally,
    )


def _ladder(settings: MixSettings, found: set[float], where: str) -> ControlTokens:
    """The ladder of the settings, or of all ratios found; it must fit the traces and the other settings."""
    tokens = ControlTokens.ladder(settings.ratios or found, dict(settings.switches))
    absent = sorted(set(tokens.ratios.values()) - found - {0.0})
    if absent:
        wanted = ", ".join(f"{ratio:g}" for ratio in absent)
        raise DataError(f"{where}: no trace has ratio {wanted}; compress with --ratio {wanted}, or leave it out")
    if settings.plain_share and 1.0 not in tokens.ratios.values():
        raise DataError("rows without a token are full-length rows; add ratio 1 to the ladder or leave plain_share 0")
    for ratio, _ in settings.policy_quotas:
        tokens.token(ratio)
    return tokens


def _survey(traces: Traces) -> tuple[set[float], str]:
    """The ratios that occur, and the tokenizer; a trace that appears twice and a second tokenizer are refused."""
    seen: set[bytes] = set()
    questions: dict[str, bytes] = {}
    ratios: set[float] = set()
    counted: dict[str, int] = {}
    for number, row in enumerate(traces):
        key = (row["id"], row["sample"], row["model"])
        hashed = text_hash(repr(key))
        if hashed in seen:
            trace = f"id {key[0]!r}, sample {key[1]}, model {key[2]!r}"
            raise DataError(f"{_place(traces, number)}: {trace} appears twice; remove one of the rows")
        seen.add(hashed)
        question = text_hash(question_key(row["question"]))
        if questions.setdefault(row["id"], question) != question:
            raise DataError(
                f"{_place(traces, number)}: id {row['id']!r} belongs to two questions; give each question its own"
            )
        for entry in row["compressions"]:
            ratios.add(float(entry["ratio"]))
            counted.setdefault(entry["tokenizer"], number)
    if len(counted) > 1:
        each = ", ".join(f"{name!r} in {_place(traces, number)}" for name, number in counted.items())
        raise DataError(f"compressed with several tokenizers ({each}); use the target model's for all")
    if not counted:
        raise DataError(f"{_place(traces)}: no traces; compress some first")
    return ratios, next(iter(counted))


def _place(traces: Traces, number: int | None = None) -> str:
    """The traces, or one of them, for messages: the file and the line if they are in one."""
    if isinstance(traces, RowFile):
        return str(traces.path) if number is None else traces.where(number)
    return "traces" if number is None else f"trace {number + 1}"


def _accept(row: Row, tokens: ControlTokens, settings: MixSettings, tests: TestQuestions | None, tally: Tally) -> bool:
    tally.read += 1
    reason, detail = _reject_reason(row, tokens, settings)
    if not reason and tests is not None:
        detail = tests.match(row["question"]) or ""
        reason = "in_test" if detail else ""
    if reason:
        tally.reject(row, reason, detail)
    return not reason


def _reject_reason(row: Row, tokens: ControlTokens, settings: MixSettings) -> tuple[str, str]:
    """The reason why a trace is unusable, and a detail; empty strings if it is usable."""
    if not row["correct"]:
        return "incorrect", ""
    if not row["response"].strip():
        return "empty_response", ""
    reason, detail = _forbidden_text(row, tokens, settings)
    if reason:
        return reason, detail
    shorter = 0
    for ratio in tokens.ratios.values():
        entry = nearest(row, ratio)
        if entry is None or abs(entry["achieved_ratio"] - ratio) > settings.tolerance + _FLOAT_SLACK:
            asked = any(entry["ratio"] == ratio for entry in row["compressions"])
            achieved = f": nearest {entry['achieved_ratio']:.3f}" if entry else ""
            return "off_ratio" if asked else "missing_ratio", f"{ratio:g}{achieved}"
        if ratio == 0:
            continue
        if not entry["text"].strip():
            return "empty_thinking", f"{ratio:g}"
        reason, detail = collapse(entry["text"])
        if not reason and settings.paper_floors:
            reason, detail = below_floor(row["cot"], entry["text"], entry["tokens"], ratio)
        if reason:
            return reason, f"{ratio:g}: {detail}"
        if entry["tokens"] < shorter:
            return "not_monotone", f"{ratio:g}: {entry['tokens']} tokens, fewer than a smaller ratio's {shorter}"
        shorter = entry["tokens"]
    return "", ""


def _forbidden_text(row: Row, tokens: ControlTokens, settings: MixSettings) -> tuple[str, str]:
    """The reason and detail of text that no trace may contain: a lone surrogate, a thinking tag, a control token."""
    texts = [row["question"], row["response"], *(entry["text"] for entry in row["compressions"])]
    for text in (*texts, *(entry["tokenizer"] for entry in row["compressions"])):
        if surrogate := lone_surrogate(text):
            return "lone_surrogate", surrogate
    own = given_format(settings.thinking_format)
    for tag in (THINK.open, THINK.close, own.open, own.close, *tokens.all_tokens, *tokens.switches.values()):
        if any(tag in text for text in texts):
            return "tag_in_text", tag
    return "", ""


def _balance(traces: Traces, accepted: list[_Accepted], wanted: int, seed: int, tally: Tally) -> list[_Accepted]:
    """`wanted` traces, taken in turn from five bins of thinking length of equal width; the others are rejected."""
    lengths = [trace.tokens for trace in accepted]
    shortest, longest = min(lengths, default=0), max(lengths, default=0)
    width = (longest - shortest + 1) / _LENGTH_BINS
    bins: list[list[int]] = [[] for _ in range(_LENGTH_BINS)]
    order = list(range(len(accepted)))
    random.Random(f"{seed}:balance").shuffle(order)
    for index in order:
        bins[int((lengths[index] - shortest) / width)].append(index)
    turns = sorted((place, number, index) for number, found in enumerate(bins) for place, index in enumerate(found))
    kept = {index for *_, index in turns[:wanted]}
    for index, trace in enumerate(accepted):
        if index not in kept:
            tally.reject(traces[trace.number], "surplus_of_its_length", f"{trace.tokens} tokens")
    return [accepted[index] for index in sorted(kept)]


def _heldout(accepted: list[_Accepted], settings: MixSettings) -> set[bytes]:
    """The held-out questions: those with the smallest seeded hashes, whatever the order of rows."""
    if not settings.heldout_share:
        return set()
    questions = sorted({trace.question for trace in accepted})
    if len(questions) < 2:
        raise DataError("one question cannot be split; add traces or set --heldout-share 0")
    return set(questions[: min(len(questions) - 1, max(1, round(len(questions) * settings.heldout_share)))])


def _mixed(
    traces: Traces,
    side: Sequence[int],
    tokens: ControlTokens,
    settings: MixSettings,
    *,
    teacher: Mapping[str, float | None] | None,
    tally: Tally,
) -> MixedRows:
    """One row for each trace and ratio, then the policy rows; a share of the full-length rows has no token."""
    draw = random.Random(f"{settings.seed}:plain")
    plain = set(draw.sample(side, round(len(side) * settings.plain_share)))
    policy = choose_policy_rows(traces, side, tokens, settings, teacher=teacher, tally=tally)
    return MixedRows(
        traces,
        tokens,
        settings.instruction,
        fixed=side,
        plain=plain,
        policy=policy,
        thinking_format=replace(given_format(settings.thinking_format), opened=False),
    )
