r"""The training rows of a mixture, each made on access, so that only trace numbers are kept in memory.

Which traces, ratios and modes there are is decided by `selection`. A row always has the whole thinking block; if a chat
template opens the block itself, `training.encoding` leaves the opening tag out.

    rows = MixedRows(traces, tokens, instruction, fixed=[0, 1], plain={1}, policy=[(0, 0.2)])
    rows[0]["completion"][0]["content"]      # '<COMP_20>\n<think>\n48 / 2 = 24\n</think>\n\n\boxed{24}'
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from ratio_sft._shared.control_tokens import ControlTokens, user_turn
from ratio_sft._shared.records import Row
from ratio_sft._shared.thinking import THINK, ThinkingFormat
from ratio_sft._shared.thinking_formats import given_format
from ratio_sft.settings import MixSettings


class Traces(Protocol):
    """Rows of the `compressed` contract by number: a list, or a `RowFile`."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Row: ...

    def __iter__(self) -> Iterator[Row]: ...


class MixedRows(Sequence[Row]):
    """Rows of the `sft` contract: one for each trace and ratio of the ladder, then the policy rows.

    Args:
        traces: Rows of the `compressed` contract.
        tokens: The ladder.
        instruction: Text before each question.
        fixed: Numbers of the traces that give a row for every ratio.
        plain: Numbers of the traces among them whose full-length row has no control token.
        policy: Trace number and target ratio of each policy row.
        thinking_format: Tags around the thinking.
    """

    def __init__(
        self,
        traces: Traces,
        tokens: ControlTokens,
        instruction: str,
        *,
        fixed: Sequence[int],
        plain: Collection[int],
        policy: Sequence[tuple[int, float]],
        thinking_format: ThinkingFormat = THINK,
    ) -> None:
        self.traces, self.tokens, self.instruction = traces, tokens, instruction
        self.fixed, self.plain, self.policy, self.thinking_format = fixed, plain, policy, thinking_format

    def __len__(self) -> int:
        return len(self.fixed) * len(self.tokens.ratios) + len(self.policy)

    def __getitem__(self, number: int) -> Row:  # type: ignore[override]
        """Row `number`; slices are not supported."""
        ladder = list(self.tokens.ratios.values())
        place = number - len(self.fixed) * len(ladder)
        if not 0 <= number < len(self):
            raise IndexError(number)
        if place >= 0:
            trace, ratio = self.policy[place]
            return self._row(self.traces[trace], ratio, "policy")
        trace, ratio = self.fixed[number // len(ladder)], ladder[number % len(ladder)]
        return self._row(self.traces[trace], ratio, "plain" if ratio == 1.0 and trace in self.plain else "fixed")

    def _row(self, trace: Row, ratio: float, mode: str) -> Row:
        entry = nearest(trace, ratio)
        assert entry is not None
        token = self.tokens.token(ratio)
        asked = {"policy": self.tokens.policy, "fixed": self.tokens.request(ratio), "plain": None}[mode]
        thinking = self.thinking_format.join(f"\n{entry['text'].strip()}\n", "")
        completion = f"{thinking}\n\n{trace['response'].strip()}"
        if asked is not None:
            completion = f"{token}\n{completion}"
        return {
            "id": trace["id"],
            "sample": trace["sample"],
            "model": trace["model"],
            "prompt": [{"role": "user", "content": user_turn(trace["question"], asked, self.instruction)}],
            "completion": [{"role": "assistant", "content": completion}],
            "ratio": ratio,
            "mode": "policy" if mode == "policy" else "fixed",
            "achieved_ratio": entry["achieved_ratio"],
            "thinking_tokens": entry["tokens"],
        }


def row_format(settings: MixSettings) -> ThinkingFormat:
    """The thinking format of the rows, which always have the whole block."""
    return replace(given_format(settings.thinking_format), opened=False)


def nearest(trace: Row, ratio: float) -> Row | None:
    """The compression whose achieved ratio is nearest to `ratio`; the shorter one of two that are equally near.

    Ratio 0 needs no compression: its text is empty.

    >>> trace = {"compressions": [{"achieved_ratio": 0.3, "tokens": 24}, {"achieved_ratio": 0.19, "tokens": 15}]}
    >>> nearest(trace, 0.2)["tokens"]
    15
    """
    if ratio == 0:
        return {"text": "", "tokens": 0, "achieved_ratio": 0.0}
    return min(
        trace["compressions"],
        key=lambda entry: (round(abs(entry["achieved_ratio"] - ratio), 9), entry["tokens"]),
        default=None,
    )


def kind(row: Row, thinking_format: ThinkingFormat) -> str:
    """The kind of an sft row: "fixed", "policy", or "plain" for a full-length row without a control token."""
    return "plain" if row["completion"][0]["content"].startswith(thinking_format.open) else row["mode"]
