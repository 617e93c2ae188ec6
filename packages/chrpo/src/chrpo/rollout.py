r"""Facts about one rollout, read off its token ids: format, answer, token counts.

Token ids are read and not text, because trainers drop special tokens when they decode. Rewarding the facts is left to
`core.rewards`.

    reader = RolloutReader(tokenizer, tokens, eos_ids=[tokenizer.eos_token_id], grader=grade)
    reader.read(ids, answer="27").format_ok
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._shared.boxed import find_boxes
from ._shared.control_tokens import ControlTokens
from ._shared.thinking import ThinkingFormat
from ._shared.thinking_formats import format_of
from ._shared.tokenizer_file import tokenizing
from .errors import DataError
from .grader import Grader

_MAX_PERIOD = 32
_MIN_REPEATS = 4
_MIN_REPEATED_TOKENS = 16


@dataclass(frozen=True)
class RolloutStats:
    """Facts about one rollout.

    Args:
        format_ok: True if the rollout is finished and has one thinking block, which opens the answer and is closed, no
            further control or special token, and one answer in a box after it (equal answers count once). If the chat
            template's generation prompt opens the block, the completion does not open it again.
        correct: True if the rollout is finished and the grader accepts its answer, whatever its format.
        truncated: True if the token limit ended it.
        thinking_tokens: Number of tokens between the tags; a block that is not closed extends to the end.
        completion_tokens: Number of all tokens, including the forced control token and the end token.
        integrity: Share of two checks that fail: the thinking is not empty; no sequence is repeated many times.
    """

    format_ok: bool
    correct: bool
    truncated: bool
    thinking_tokens: int
    completion_tokens: int
    integrity: float


def control_ids(tokenizer: Any, tokens: ControlTokens) -> dict[str, int]:
    """The id of every control token.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        tokens: Control tokens of the checkpoint.

    Raises:
        DataError: the tokenizer splits a control token, so the model was not trained with it.
    """
    ids: dict[str, int] = {}
    for token in tokens.all_tokens:
        pieces = tokenizer.encode(token, add_special_tokens=False)
        if len(pieces) != 1 or pieces[0] == tokenizer.unk_token_id:
            raise DataError(
                f"control token {token} is not one token of this tokenizer (it becomes {pieces}); "
                "use the checkpoint that ratio-sft wrote, with its own tokenizer"
            )
        ids[token] = int(pieces[0])
    return ids


class RolloutReader:
    """Reads rollouts of one checkpoint, in its thinking format: `thinking_format.json`, or what its template shows.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        tokens: Control tokens of the checkpoint.
        eos_ids: All token ids that end a turn.
        grader: Function (completion, reference answer) -> True if correct.
        template_variables: Further variables that the prompts are rendered with, such as enable_thinking.

    Raises:
        DataError: the tokenizer splits a control token, or the thinking format cannot be read.
    """

    def __init__(
        self,
        tokenizer: Any,
        tokens: ControlTokens,
        eos_ids: Sequence[int],
        grader: Grader,
        *,
        template_variables: Mapping[str, Any] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._grader = grader
        self._ends = frozenset(eos_ids)
        self.thinking_format = format_of(tokenizer, template_variables)
        tags = set(_tag_ids(tokenizer, self.thinking_format))
        special = set(tokenizer.all_special_ids) | set(control_ids(tokenizer, tokens).values())
        self._forbidden = frozenset(special - tags)

    def read(self, ids: Sequence[int], answer: str) -> RolloutStats:
        """Facts about one completion.

        Args:
            ids: Token ids, without the forced control token and without padding.
            answer: Reference answer.
        """
        finished = bool(ids) and ids[-1] in self._ends
        body = list(ids[:-1] if finished else ids)
        with tokenizing(str(self._tokenizer.name_or_path)):
            text = self._tokenizer.decode(body, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            thinking = self.thinking_format.split(text)
            inside = len(self._tokenizer.encode(thinking.text, add_special_tokens=False)) if thinking.text else 0
        whole = self._has_one_block(text) and thinking.closed and self._forbidden.isdisjoint(body)
        boxes = {thinking.answer[box.start : box.end].strip() for box in find_boxes(thinking.answer)[0]}
        return RolloutStats(
            format_ok=finished and whole and len(boxes) == 1,
            correct=finished and self._grader(text, answer),
            truncated=not finished,
            thinking_tokens=inside,
            completion_tokens=len(ids) + 1,
            integrity=((not thinking.text) + _repeats(body)) / 2,
        )

    def _has_one_block(self, text: str) -> bool:
        """True if a text begins inside the thinking block or with its opening tag, and each tag occurs once."""
        markup = self.thinking_format
        opens = 0 if markup.opened else 1
        begins = markup.opened or text.lstrip().startswith(markup.open)
        return begins and text.count(markup.open) == opens and text.count(markup.close) == 1


def _tag_ids(tokenizer: Any, markup: ThinkingFormat) -> list[int]:
    """Ids of everything that the tags of a format consist of."""
    tags = (markup.open, markup.between, markup.close)
    with tokenizing(str(tokenizer.name_or_path)):
        return [one for tag in tags if tag for one in tokenizer.encode(tag, add_special_tokens=False)]


def _repeats(ids: Sequence[int]) -> bool:
    """True if a sequence of up to 32 tokens occurs four or more times in a row and fills 16 tokens or more."""
    tokens = np.asarray(ids)
    for period in range(1, min(_MAX_PERIOD, len(tokens) // _MIN_REPEATS) + 1):
        needed = max(_MIN_REPEATED_TOKENS, _MIN_REPEATS * period) - period
        same = tokens[period:] == tokens[:-period]
        if np.count_nonzero(same) >= needed:
            ends = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
            if np.diff(ends).max() > needed:
                return True
    return False
