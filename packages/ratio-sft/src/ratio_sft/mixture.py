r"""Mix compressed traces into rows that teach every ratio of a ladder, and the policy token.

A correct trace gives one row for each ratio, or none at all (the paper's strict intersection, section 2.1), so that
ratios differ in length and nothing else. Policy rows (2.2) open with a target ratio. Tokenising is left to `encoding`.

    mixture = mix(read_records("compressed.jsonl", "compressed"), MixSettings())
    mixture.train[0]["completion"][0]["content"]      # '<COMP_20>\n<think>\n48 / 2 = 24\n</think>\n\n\boxed{24}'
"""

import hashlib
import random
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .clean import below_floor, collapse
from .control import INSTRUCTION, ControlTokens, user_turn
from .decontaminate import TestQuestions
from .errors import DataError
from .records import Row, Tally

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

    train: list[Row]
    heldout: list[Row]
    tokens: ControlTokens
    tokenizer: str
    policy_targets: str
    distinct_policy_rows: int
    questions: dict[str, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)


def mix(
    traces: Iterable[Row],
    settings: MixSettings,
    teacher: Mapping[str, float | None] | None = None,
    tests: TestQuestions | None = None,
) -> Mixture:
    """Build the mixture.

    Args:
        traces: rows of the `compressed` contract.
        settings: what to mix.
        teacher: problem id -> measured ratio, or None for a problem without one (see `read_teacher`); policy rows are
            then made of these problems only. Without it their targets are drawn uniformly.
        tests: questions to keep out; a trace of one of them is a reject.

    Raises:
        DataError: a trace appears twice, an id stands for two questions, the traces were counted by several
            tokenizers, a ratio is nowhere in them, or nothing is left.
    """
    rows = list(traces)
    _refuse_duplicates(rows)
    tokenizer = _single_tokenizer(rows)
    found = {float(entry["ratio"]) for row in rows for entry in row["compressions"]}
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
    accepted = [row for row in rows if _accept(row, tokens, settings, tests, tally)]
    if settings.traces is not None:
        accepted = _balance(accepted, settings.traces, settings.seed, tally)
    if not accepted:
        raise DataError(f"no trace is usable: {tally.summary()}")
    keys = _split(accepted, settings)
    train = [row for row in accepted if question_key(row["question"]) not in keys]
    heldout = [row for row in accepted if question_key(row["question"]) in keys]
    train_policy = _policy_rows(train, tokens, settings, teacher, tally)
    if teacher is not None and settings.policy_share and not train_policy:
        raise DataError(
            "no question of the traces has a teacher ratio of the ladder; is --teacher of the same problems?"
        )
    taught = {row["ratio"] for row in train_policy}
    for ratio, share in settings.policy_quotas:
        if train_policy and share and ratio not in taught:
            raise DataError(f"policy_quotas asks for ratio {ratio:g}, which is no question's target; give it 0")
    mixture = Mixture(
        train=_fixed_rows(train, tokens, settings) + train_policy,
        heldout=_fixed_rows(heldout, tokens, settings) + _policy_rows(heldout, tokens, settings, teacher, tally),
        tokens=tokens,
        tokenizer=tokenizer,
        policy_targets="uninformed" if teacher is None else "teacher",
        distinct_policy_rows=len({(row["id"], row["sample"], row["ratio"]) for row in train_policy}),
        questions={
            side: len({question_key(row["question"]) for row in rows})
            for side, rows in (("train", train), ("heldout", heldout))
        },
        tally=tally,
    )
    tally.written = len(mixture.train) + len(mixture.heldout)
    return mixture


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


def _refuse_duplicates(rows: list[Row]) -> None:
    seen: set[tuple[str, int, str]] = set()
    questions: dict[str, str] = {}
    for row in rows:
        key = (row["id"], row["sample"], row["model"])
        if key in seen:
            raise DataError(f"id {key[0]!r}, sample {key[1]}, model {key[2]!r} appears twice; remove one of the rows")
        seen.add(key)
        question = question_key(row["question"])
        if questions.setdefault(row["id"], question) != question:
            raise DataError(f"id {row['id']!r} stands for two questions; give each its own")


def _single_tokenizer(rows: list[Row]) -> str:
    names = sorted({entry["tokenizer"] for row in rows for entry in row["compressions"]})
    if len(names) > 1:
        raise DataError(f"compressed with several tokenizers ({', '.join(names)}); use the target model's for all")
    if not names:
        raise DataError("no traces; compress some first")
    return names[0]


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
    texts = [row["question"], row["response"], *(entry["text"] for entry in row["compressions"])]
    for tag in ("<think>", "</think>", *tokens.all_tokens):
        if any(tag in text for text in texts):
            return "tag_in_text", tag
    shorter = 0
    for ratio in tokens.ratios.values():
        entry = _entry(row, ratio)
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


def _entry(row: Row, ratio: float) -> Row | None:
    """The compression for a ratio's bucket by ACTUAL tokens: the nearest achieved one, the shorter of two."""
    return min(
        row["compressions"],
        key=lambda entry: (round(abs(entry["achieved_ratio"] - ratio), 9), entry["tokens"]),
        default=None,
    )


def _balance(rows: list[Row], wanted: int, seed: int, tally: Tally) -> list[Row]:
    """`wanted` rows, taken in turns from five equally wide bins of thinking length; the others are counted rejects."""
    lengths = [max((entry["original_tokens"] for entry in row["compressions"]), default=0) for row in rows]
    shortest, longest = min(lengths, default=0), max(lengths, default=0)
    width = (longest - shortest + 1) / _LENGTH_BINS
    bins: list[list[int]] = [[] for _ in range(_LENGTH_BINS)]
    order = list(range(len(rows)))
    random.Random(f"{seed}:balance").shuffle(order)
    for index in order:
        bins[int((lengths[index] - shortest) / width)].append(index)
    turns = sorted((place, number, index) for number, found in enumerate(bins) for place, index in enumerate(found))
    kept = {index for *_, index in turns[:wanted]}
    for index, row in enumerate(rows):
        if index not in kept:
            tally.reject(row, "surplus_of_its_length", f"{lengths[index]} tokens")
    return [rows[index] for index in sorted(kept)]


def _split(rows: list[Row], settings: MixSettings) -> set[str]:
    """The keys of the held-out questions: those with the smallest seeded hashes, so the order of rows is no matter."""
    keys = sorted({question_key(row["question"]) for row in rows})
    if not settings.heldout_share:
        return set()
    if len(keys) < 2:
        raise DataError("one question cannot be split; add traces or set --heldout-share 0")
    keys.sort(key=lambda key: hashlib.sha256(f"{settings.seed}:{key}".encode("utf-8", "surrogatepass")).digest())
    return set(keys[: min(len(keys) - 1, max(1, round(len(keys) * settings.heldout_share)))])


def kind(row: Row) -> str:
    """What an sft row teaches: "fixed", "policy", or "plain" for a full-length row without a control token."""
    return "plain" if row["completion"][0]["content"].startswith("<think>") else row["mode"]


def _row(row: Row, ratio: float, mode: str, tokens: ControlTokens, settings: MixSettings) -> Row:
    entry = _entry(row, ratio)
    assert entry is not None
    token = tokens.token(ratio)
    asked = {"policy": tokens.policy, "fixed": token, "plain": None}[mode]
    completion = f"<think>\n{entry['text'].strip()}\n</think>\n\n{row['response'].strip()}"
    if asked is not None:
        completion = f"{token}\n{completion}"
    return {
        "id": row["id"],
        "sample": row["sample"],
        "model": row["model"],
        "prompt": [{"role": "user", "content": user_turn(row["question"], asked, settings.instruction)}],
        "completion": [{"role": "assistant", "content": completion}],
        "ratio": ratio,
        "mode": "policy" if mode == "policy" else "fixed",
        "achieved_ratio": entry["achieved_ratio"],
        "thinking_tokens": entry["tokens"],
    }


def _fixed_rows(side: list[Row], tokens: ControlTokens, settings: MixSettings) -> list[Row]:
    """A row for each ratio; of the full-length ones, a drawn share without a token."""
    draw = random.Random(f"{settings.seed}:plain")
    plain = set(draw.sample(range(len(side)), round(len(side) * settings.plain_share)))
    return [
        _row(row, ratio, "plain" if ratio == 1.0 and index in plain else "fixed", tokens, settings)
        for index, row in enumerate(side)
        for ratio in tokens.ratios.values()
    ]


def _policy_rows(
    side: list[Row],
    tokens: ControlTokens,
    settings: MixSettings,
    teacher: Mapping[str, float | None] | None,
    tally: Tally,
) -> list[Row]:
    """As many policy rows as the share asks for; whole rounds over the candidates first, so that all count alike."""
    wanted = round(len(side) * len(tokens.ratios) * settings.policy_share / (1 - settings.policy_share))
    if not wanted:
        return []
    draw = random.Random(f"{settings.seed}:policy")
    ladder = list(tokens.ratios.values())
    first_of_problem: dict[str, Row] = {}
    for row in side:
        first_of_problem.setdefault(row["id"], row)
    candidates = list(first_of_problem.values())
    targets = {row["id"]: ladder for row in candidates}
    if teacher is not None:
        candidates = [row for row in candidates if _taught(row, ladder, teacher, tally)]
        targets = {row["id"]: [float(teacher[row["id"]] or 0)] for row in candidates}
    pools = [(ladder, wanted)]
    if settings.policy_quotas:
        pools = [([ratio], round(wanted * share)) for ratio, share in settings.policy_quotas]
    rows: list[Row] = []
    for ratios, count in pools:
        able = [row for row in candidates if not set(ratios).isdisjoint(targets[row["id"]])]
        last = len(rows) + count if able else 0
        while len(rows) < last:
            for row in draw.sample(able, min(len(able), last - len(rows))):
                target = draw.choice([ratio for ratio in targets[row["id"]] if ratio in ratios])
                rows.append(_row(row, target, "policy", tokens, settings))
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
