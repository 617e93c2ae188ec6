r"""Mix compressed traces into rows that teach every ratio of a ladder, and the policy token.

A correct trace gives one row for each ratio, or none at all (the paper's strict intersection, section 2.1), so that
ratios differ in length and nothing else. Policy rows (2.2) open with a target ratio. Of a trace only number, length and
a hash of the question are held; the rows are made by `rows`, tokenising is left to `encoding`.

    mixture = mix(RowFile("compressed.jsonl", "compressed"), MixSettings())
    mixture.train[0]["completion"][0]["content"]      # '<COMP_20>\n<think>\n48 / 2 = 24\n</think>\n\n\boxed{24}'
"""

import hashlib
import random
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ._shared.control_tokens import INSTRUCTION, ControlTokens
from ._shared.records import Row, Tally
from .clean import below_floor, collapse, lone_surrogate
from .decontaminate import TestQuestions
from .errors import DataError
from .rows import MixedRows, Traces, nearest

POLICY_SHARE = 1 / 7
_LENGTH_BINS = 5
_FLOAT_SLACK = 1e-9


@dataclass(frozen=True)
class MixSettings:
    """What to mix; the paper's values are the defaults where it gives one."""

    ratios: tuple[float, ...] = ()
    """The ladder; empty: every ratio found in the traces."""
    tolerance: float = 0.05
    """Largest difference between asked and achieved ratio (section 2.1, step 2)."""
    policy_share: float = POLICY_SHARE
    """Share of policy rows in the mix: the paper's 10k beside 60k rows of fixed ratio (section 2.1)."""
    policy_quotas: tuple[tuple[float, float], ...] = ()
    """(ratio, share) pairs: the shares of the policy rows' targets, as the paper has them (.18 .24 .26 .22 .10, section
    2.2). Our choice: none, because the measured targets then stand as often as they were measured."""
    heldout_share: float = 0.05
    """Share of questions held out. Our choice: half of the paper's 10 %, because one split of many rows suffices."""
    plain_share: float = 0.0
    """Share of full-length rows that stand without a control token, so that the untouched behaviour stays (the paper:
    a half, section 2.1, step 6)."""
    traces: int | None = None
    """Traces to keep, taken evenly over five bins of thinking length (section 2.1, step 1); all by default."""
    instruction: str = INSTRUCTION
    """What stands before the question."""
    seed: int = 0
    paper_floors: bool = False
    """Reject the short and the number-poor as the paper does (see `clean.below_floor`). Our choice: off, because the
    floors are made for thinking of 500 tokens and more."""

    def __post_init__(self) -> None:
        if self.ratios:
            ControlTokens.ladder(self.ratios)
        if not 0 <= self.tolerance <= 1:
            raise DataError(f"tolerance must be in [0, 1]; got {self.tolerance:g}")
        shares = [share for _, share in self.policy_quotas]
        if shares and not (min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6):
            raise DataError(f"the shares of policy_quotas must be 0 or more and add up to 1; got {sum(shares):g}")
        if len(dict(self.policy_quotas)) < len(shares):
            raise DataError("policy_quotas names a ratio twice; give each one share")
        for name in ("policy_share", "heldout_share"):
            if not 0 <= getattr(self, name) < 1:
                raise DataError(f"{name} must be in [0, 1); got {getattr(self, name):g}")
        if not 0 <= self.plain_share <= 1:
            raise DataError(f"plain_share must be in [0, 1]; got {self.plain_share:g}")
        if self.traces is not None and self.traces < 1:
            raise DataError(f"traces must be at least 1; got {self.traces}")


@dataclass
class Mixture:
    """Rows for training and rows held out, and how they came about."""

    train: MixedRows
    heldout: MixedRows
    tokens: ControlTokens
    tokenizer: str
    policy_targets: str
    questions: dict[str, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What is remembered of a usable trace."""

    number: int
    tokens: int
    """Of its whole thinking."""
    question: bytes
    """A seeded hash of `question_key`, which also decides who is held out."""


def mix(
    traces: Traces,
    settings: MixSettings,
    teacher: Mapping[str, float | None] | None = None,
    tests: TestQuestions | None = None,
) -> Mixture:
    """Build the mixture.

    Args:
        traces: rows of the `compressed` contract, looked at several times.
        settings: what to mix.
        teacher: problem id -> measured ratio, or None for a problem without one (see `read_teacher`); policy rows are
            then made of these problems only. Without it their targets are drawn uniformly.
        tests: questions to keep out; a trace of one of them is a reject.

    Raises:
        DataError: a trace appears twice, an id stands for two questions, the traces were counted by several
            tokenizers, a ratio is nowhere in them, or nothing is left.
    """
    found, tokenizer = _survey(traces)
    tokens = ControlTokens.ladder(settings.ratios or found)
    absent = sorted(set(tokens.ratios.values()) - found)
    if absent:
        wanted = ", ".join(f"{ratio:g}" for ratio in absent)
        raise DataError(f"no trace has ratio {wanted}; compress with --ratio {wanted}, or leave it out")
    if settings.plain_share and 1.0 not in tokens.ratios.values():
        raise DataError("rows without a token are full-length rows; add ratio 1 to the ladder or leave plain_share 0")
    for ratio, _ in settings.policy_quotas:
        tokens.token(ratio)
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
        raise DataError(f"no trace is usable: {tally.summary()}")
    heldout = _heldout(accepted, settings)
    sides = {
        "train": [trace for trace in accepted if trace.question not in heldout],
        "heldout": [trace for trace in accepted if trace.question in heldout],
    }
    mixed = {
        name: _mixed(traces, [trace.number for trace in side], tokens, settings, teacher, tally)
        for name, side in sides.items()
    }
    if teacher is not None and settings.policy_share and not mixed["train"].policy:
        raise DataError(
            "no question of the traces has a teacher ratio of the ladder; is --teacher of the same problems?"
        )
    taught = {ratio for _, ratio in mixed["train"].policy}
    for ratio, share in settings.policy_quotas:
        if taught and share and ratio not in taught:
            raise DataError(f"policy_quotas asks for ratio {ratio:g}, which is no question's target; give it 0")
    tally.written = len(mixed["train"]) + len(mixed["heldout"])
    return Mixture(
        **mixed,
        tokens=tokens,
        tokenizer=tokenizer,
        policy_targets="uninformed" if teacher is None else "teacher",
        questions={name: len({trace.question for trace in side}) for name, side in sides.items()},
        tally=tally,
    )


def read_teacher(rows: Iterable[Row]) -> dict[str, float | None]:
    """Problem id -> teacher ratio, from rows of the `rl_prompts` contract.

    Raises:
        DataError: two rows of one problem disagree.
    """
    ratios: dict[str, float | None] = {}
    for row in rows:
        if ratios.setdefault(row["id"], row["teacher_ratio"]) != row["teacher_ratio"]:
            raise DataError(f"problem {row['id']!r} has teacher ratios {ratios[row['id']]} and {row['teacher_ratio']}")
    return ratios


def question_key(question: str) -> str:
    """What makes two questions the same: their text up to Unicode form, case and white space (section 2.1, step 3)."""
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split())


def text_hash(text: str) -> bytes:
    """Sixteen bytes in place of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _survey(traces: Traces) -> tuple[set[float], str]:
    """The ratios that occur, and the tokenizer; twins and mixed tokenizers are refused."""
    seen: set[bytes] = set()
    questions: dict[str, bytes] = {}
    ratios: set[float] = set()
    names: set[str] = set()
    for row in traces:
        key = (row["id"], row["sample"], row["model"])
        hashed = text_hash(repr(key))
        if hashed in seen:
            raise DataError(f"id {key[0]!r}, sample {key[1]}, model {key[2]!r} appears twice; remove one of the rows")
        seen.add(hashed)
        question = text_hash(question_key(row["question"]))
        if questions.setdefault(row["id"], question) != question:
            raise DataError(f"id {row['id']!r} stands for two questions; give each its own")
        for entry in row["compressions"]:
            ratios.add(float(entry["ratio"]))
            names.add(entry["tokenizer"])
    if len(names) > 1:
        raise DataError(
            f"compressed with several tokenizers ({', '.join(sorted(names))}); use the target model's for all"
        )
    if not names:
        raise DataError("no traces; compress some first")
    return ratios, names.pop()


def _accept(row: Row, tokens: ControlTokens, settings: MixSettings, tests: TestQuestions | None, tally: Tally) -> bool:
    tally.read += 1
    reason, detail = _fault(row, tokens, settings)
    if not reason and tests is not None:
        detail = tests.match(row["question"]) or ""
        reason = "in_test" if detail else ""
    if reason:
        tally.reject(row, reason, detail)
    return not reason


def _fault(row: Row, tokens: ControlTokens, settings: MixSettings) -> tuple[str, str]:
    """Why a trace is unusable, as a slug and a detail; empty strings if it is usable."""
    if not row["correct"]:
        return "incorrect", ""
    if not row["response"].strip():
        return "empty_response", ""
    reason, detail = _foreign(row, tokens)
    if reason:
        return reason, detail
    shorter = 0
    for ratio in tokens.ratios.values():
        entry = nearest(row, ratio)
        if entry is None or abs(entry["achieved_ratio"] - ratio) > settings.tolerance + _FLOAT_SLACK:
            asked = any(entry["ratio"] == ratio for entry in row["compressions"])
            achieved = f": nearest {entry['achieved_ratio']:.3f}" if entry else ""
            return "off_ratio" if asked else "missing_ratio", f"{ratio:g}{achieved}"
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


def _foreign(row: Row, tokens: ControlTokens) -> tuple[str, str]:
    """What must not stand in any text of a trace, as `_fault` says it."""
    texts = [row["question"], row["response"], *(entry["text"] for entry in row["compressions"])]
    for text in (*texts, *(entry["tokenizer"] for entry in row["compressions"])):
        if surrogate := lone_surrogate(text):
            return "lone_surrogate", surrogate
    for tag in ("<think>", "</think>", *tokens.all_tokens):
        if any(tag in text for text in texts):
            return "tag_in_text", tag
    return "", ""


def _balance(traces: Traces, accepted: list[_Accepted], wanted: int, seed: int, tally: Tally) -> list[_Accepted]:
    """`wanted` traces, in turns from five equally wide bins of thinking length; the others are counted rejects."""
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
    """The held-out questions: those with the smallest seeded hashes, so the order of rows is no matter."""
    if not settings.heldout_share:
        return set()
    questions = sorted({trace.question for trace in accepted})
    if len(questions) < 2:
        raise DataError("one question cannot be split; add traces or set --heldout-share 0")
    return set(questions[: min(len(questions) - 1, max(1, round(len(questions) * settings.heldout_share)))])


def _mixed(
    traces: Traces,
    side: list[int],
    tokens: ControlTokens,
    settings: MixSettings,
    teacher: Mapping[str, float | None] | None,
    tally: Tally,
) -> MixedRows:
    """A row for each trace and ratio, of the full-length ones a drawn share without a token; then the policy rows."""
    draw = random.Random(f"{settings.seed}:plain")
    plain = set(draw.sample(side, round(len(side) * settings.plain_share)))
    policy = _policy(traces, side, tokens, settings, teacher, tally)
    return MixedRows(traces, tokens, settings.instruction, fixed=side, plain=plain, policy=policy)


def _policy(
    traces: Traces,
    side: list[int],
    tokens: ControlTokens,
    settings: MixSettings,
    teacher: Mapping[str, float | None] | None,
    tally: Tally,
) -> list[tuple[int, float]]:
    """As many policy rows as the share asks for; whole rounds over the candidates first, so that all count alike."""
    wanted = round(len(side) * len(tokens.ratios) * settings.policy_share / (1 - settings.policy_share))
    if not wanted:
        return []
    draw = random.Random(f"{settings.seed}:policy")
    ladder = list(tokens.ratios.values())
    problems: dict[str, int] = {}
    for number in side:
        problems.setdefault(traces[number]["id"], number)
    if teacher is None:
        targets: dict[int, Sequence[float]] = dict.fromkeys(problems.values(), ladder)
    else:
        targets = {
            number: [float(teacher[name] or 0)]
            for name, number in problems.items()
            if _taught(traces[number], ladder, teacher, tally)
        }
    pools = [(ladder, wanted)]
    if settings.policy_quotas:
        pools = [([ratio], round(wanted * share)) for ratio, share in settings.policy_quotas]
    rows: list[tuple[int, float]] = []
    for ratios, count in pools:
        able = [number for number, wants in targets.items() if not set(ratios).isdisjoint(wants)]
        last = len(rows) + count if able else 0
        while len(rows) < last:
            for number in draw.sample(able, min(len(able), last - len(rows))):
                rows.append((number, draw.choice([ratio for ratio in targets[number] if ratio in ratios])))
    return rows


def _taught(row: Row, ladder: list[float], teacher: Mapping[str, float | None], tally: Tally) -> bool:
    """Whether the trace's problem has a teacher ratio of the ladder; if the teacher names another or none: a reject."""
    if row["id"] not in teacher:
        return False
    ratio = teacher[row["id"]]
    if ratio is None:
        tally.reject({**row, "mode": "policy"}, "no_teacher_ratio", "no ratio was right often enough")
    elif ratio not in ladder:
        tally.reject({**row, "mode": "policy"}, "teacher_ratio_not_in_ladder", f"{ratio:g}")
    return ratio in ladder
