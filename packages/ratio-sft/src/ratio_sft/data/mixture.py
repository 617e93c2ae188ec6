r"""Mix compressed traces into rows that teach every ratio of a ladder, and the policy token.

A correct trace gives one row for each ratio, or none at all (the paper's strict intersection, section 2.1), so that
ratios differ in length and nothing else. Of each trace, only its number, id, length and question hash are kept in
memory. What is usable is left to `acceptance`, what becomes of it to `selection`, the rows themselves to `rows`,
tokenising to `training.encoding`.

    mixture = mix(RowFile("compressed.jsonl", "compressed"), MixSettings())
    mixture.train[0]["completion"][0]["content"]      # '<COMP_20>\n<think>\n48 / 2 = 24\n</think>\n\n\boxed{24}'
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft._shared.records import Tally
from ratio_sft.errors import DataError
from ratio_sft.settings import MixSettings

from .acceptance import Reject, usable_traces
from .decontaminate import TestQuestions
from .row_file import RowFile
from .rows import MixedRows, Traces, row_format
from .selection import Selection, Side, select
from .survey import Survey, check_ladder, ladder


@dataclass(frozen=True)
class Mixture:
    """Rows to train on, rows held out, and how they were chosen.

    Args:
        train: Rows to train on.
        heldout: Rows of the held-out questions.
        selection: What became of each usable trace, and the ladder.
        tokenizer: Name of the tokenizer that counted the traces.
        tally: Counts of traces read, rows written, and traces rejected by reason.
    """

    train: MixedRows
    heldout: MixedRows
    selection: Selection
    tokenizer: str
    tally: Tally

    @property
    def tokens(self) -> ControlTokens:
        """The ladder."""
        return self.selection.tokens


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
    survey, tally, name = Survey(), Tally(), str(traces.path) if isinstance(traces, RowFile) else "traces"
    for number, row in enumerate(traces):
        survey.add(row, traces.where(number) if isinstance(traces, RowFile) else f"trace {number + 1}")
    tokenizer, tokens = survey.tokenizer(name), ladder(settings, survey.ratios)
    check_ladder(tokens, settings, survey.ratios, name)
    usable = usable_traces(traces, tokens, settings, tests, tally)
    if not usable:
        raise DataError(f"{name}: no trace is usable: {tally.summary()}")
    selection = select(usable, tokens, settings, teacher=teacher)
    set_aside(traces, selection.rejects, tally)
    train, heldout = (side_rows(traces, side, tokens, settings) for side in selection.sides.values())
    tally.written = len(train) + len(heldout)
    return Mixture(train, heldout, selection, tokenizer, tally)


def set_aside(traces: Traces, rejects: Iterable[Reject], tally: Tally) -> None:
    """Count the usable traces that are not used."""
    for number, reason, detail, is_policy in rejects:
        row = traces[number]
        tally.reject({**row, "mode": "policy"} if is_policy else row, reason, detail)


def side_rows(traces: Traces, side: Side, tokens: ControlTokens, settings: MixSettings) -> MixedRows:
    """The rows of one side."""
    return MixedRows(
        traces,
        tokens,
        settings.instruction,
        fixed=side.fixed,
        plain=side.plain,
        policy=side.policy,
        thinking_format=row_format(settings),
    )
