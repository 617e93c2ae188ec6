"""What all compressed traces together must fit: no trace twice, one question for an id, one tokenizer.

Whether one trace is usable is left to `acceptance`.

    survey = Survey()
    for place, row in read_placed("compressed.jsonl", "compressed"):
        survey.add(row, place)
    survey.tokenizer("compressed.jsonl"), survey.ratios               # 'Qwen3-1.7B', {0.2, 0.6, 1.0}
"""

from typing import NamedTuple

from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft._shared.records import Row
from ratio_sft.errors import DataError
from ratio_sft.settings import MixSettings

from .questions import question_key, text_hash


class TraceKey(NamedTuple):
    """What distinguishes a trace."""

    id: str
    sample: int
    model: str
    question: bytes
    """A hash of `question_key`."""

    @classmethod
    def of(cls, row: Row) -> "TraceKey":
        """The key of a row of the `compressed` contract."""
        return cls(row["id"], row["sample"], row["model"], text_hash(question_key(row["question"])))


class Survey:
    """Traces that were added; of each, its id and hashes are kept."""

    def __init__(self) -> None:
        self.ratios: set[float] = set()
        self.tokenizers: dict[str, str] = {}
        """The place where each tokenizer was first found."""
        self._seen: set[bytes] = set()
        self._questions: dict[str, bytes] = {}

    def add(self, row: Row, where: str) -> TraceKey:
        """Add a row of the `compressed` contract.

        Raises:
            DataError: see `add_key`.
        """
        key = TraceKey.of(row)
        self.add_key(key, where)
        for entry in row["compressions"]:
            self.ratios.add(float(entry["ratio"]))
            self.tokenizers.setdefault(entry["tokenizer"], where)
        return key

    def add_key(self, key: TraceKey, where: str) -> None:
        """Add a trace without its compressions.

        Args:
            key: What distinguishes it.
            where: Its place, for messages.

        Raises:
            DataError: the trace was added before, or its id belongs to another question.
        """
        hashed = text_hash(repr(key[:3]))
        if hashed in self._seen:
            trace = f"id {key.id!r}, sample {key.sample}, model {key.model!r}"
            raise DataError(f"{where}: {trace} appears twice; remove one of the rows")
        self._seen.add(hashed)
        if self._questions.setdefault(key.id, key.question) != key.question:
            raise DataError(f"{where}: id {key.id!r} belongs to two questions; give each question its own")

    def tokenizer(self, where: str) -> str:
        """Name of the tokenizer that counted all traces.

        Args:
            where: Address of the traces, for messages.

        Raises:
            DataError: there are several, or no traces.
        """
        if len(self.tokenizers) > 1:
            each = ", ".join(f"{name!r} in {place}" for name, place in self.tokenizers.items())
            raise DataError(f"compressed with several tokenizers ({each}); use the target model's for all")
        if not self.tokenizers:
            raise DataError(f"{where}: no traces; compress some first")
        return next(iter(self.tokenizers))


def ladder(settings: MixSettings, found: set[float]) -> ControlTokens:
    """The ladder of the settings, or of all ratios that were found."""
    return ControlTokens.ladder(settings.ratios or found, dict(settings.switches))


def check_ladder(tokens: ControlTokens, settings: MixSettings, found: set[float], where: str) -> None:
    """Check that a ladder fits the traces and the other settings.

    Raises:
        DataError: a ratio is in no trace, rows without a token have no ratio 1, or a quota names another ratio.
    """
    absent = sorted(set(tokens.ratios.values()) - found - {0.0})
    if absent:
        wanted = ", ".join(f"{ratio:g}" for ratio in absent)
        raise DataError(f"{where}: no trace has ratio {wanted}; compress with --ratio {wanted}, or leave it out")
    if settings.plain_share and 1.0 not in tokens.ratios.values():
        raise DataError("rows without a token are full-length rows; add ratio 1 to the ladder or leave plain_share 0")
    for ratio, _ in settings.policy_quotas:
        tokens.token(ratio)
