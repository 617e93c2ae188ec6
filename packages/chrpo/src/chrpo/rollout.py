r"""Facts about one rollout, read off its token ids: format, answer, token counts.

Token ids are read and not text, because trainers drop special tokens when they decode. Rewarding the facts is left to
`core.rewards`.

    reader = RolloutReader(tokenizer, tokens, eos_ids=[tokenizer.eos_token_id], grader=grade)
    reader.read(ids, answer="27").format_ok
    reader.read_all([ids, others], answers=["27", "31"])      # a batched or async grader is called once
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ._shared.control_tokens import ControlTokens
from ._shared.thinking import THINK, Thinking, ThinkingFormat
from ._shared.thinking_formats import format_of
from ._shared.thinking_ids import decode_ids
from ._shared.tokenizer_file import tokenizing
from .answer_format import DESCRIPTIONS, AnswerFormat, answer_check, default_grader, format_name
from .errors import ChrpoError, DataError
from .grader import Grader
from .grading import grade_answers

EMPTY_THINKING = 0.5
"""What an empty thinking block adds to `RolloutStats.integrity`."""

_MAX_PERIOD = 32
_MIN_REPEATS = 4
_MIN_REPEATED_TOKENS = 16
_SHOWN_CHARS = 240
_QUOTED = 3


@dataclass(frozen=True)
class RolloutStats:
    """Facts about one rollout.

    Args:
        format_ok: True if the rollout is finished and has one thinking block, which opens the answer and is closed, no
            further control or special token, no id without a token, and after it an answer of the asked form, by
            default one in a box (equal answers count once). If the chat template's generation prompt opens the block,
            the completion does not open it again.
        correct: True if the rollout is finished and the grader accepts its answer, whatever its format.
        truncated: True if the token limit ended it.
        thinking_tokens: Number of tokens between the tags; a block that is not closed extends to the end.
        completion_tokens: Number of all tokens, including the end token and, if there is one, the forced control token.
        integrity: Share of two checks that fail: the thinking is not empty, which `score` does not ask for at ratio 0;
            no sequence is repeated many times.
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
    """Reads rollouts of one checkpoint.

    Args:
        tokenizer: Tokenizer of the checkpoint.
        tokens: Control tokens of the checkpoint; None if it has none.
        eos_ids: All token ids that end a turn.
        grader: Function (completion, reference answer) -> True if correct, which may be async; by default, answers in a
            box or an answer tag are compared. With an attribute `batched` of True it takes and returns lists; with an
            attribute `correct_from` it returns partial credit, and an answer is correct from this credit on. Its
            completions have the thinking between `<think>` and `</think>`, whatever the tags of the checkpoint.
        template_variables: Further variables that the prompts are rendered with, such as enable_thinking.
        thinking_format: Name of the checkpoint's thinking format, or a file of it; by default `thinking_format.json`
            of the checkpoint, or what its chat template shows.
        answer_format: Form of the answer: `boxed`, `answer-tag`, `any`, or a function of the text after the thinking.

    Attributes:
        thinking_format: Thinking format of the checkpoint.

    Raises:
        DataError: the tokenizer splits a control token, the thinking format cannot be read, there is no such form of
            the answer, or the form needs a grader and none is given.
    """

    def __init__(
        self,
        tokenizer: Any,
        tokens: ControlTokens | None,
        eos_ids: Sequence[int],
        grader: Grader | None = None,
        *,
        template_variables: Mapping[str, Any] | None = None,
        thinking_format: str | None = None,
        answer_format: AnswerFormat = "boxed",
    ) -> None:
        self._tokenizer = tokenizer
        self._fits = answer_check(answer_format)
        self._form = DESCRIPTIONS.get(format_name(answer_format), f"what {format_name(answer_format)} accepts")
        self._grader = grader or default_grader(answer_format)
        self._ends = frozenset(eos_ids)
        self.thinking_format = format_of(tokenizer, thinking_format, template_variables)
        tags = set(_tag_ids(tokenizer, self.thinking_format))
        control = control_ids(tokenizer, tokens) if tokens else {}
        self._vocabulary = len(tokenizer)
        self._forbidden = frozenset({*tokenizer.all_special_ids, *control.values()} - tags)
        self._forced = int(tokens is not None)

    def read(self, ids: Sequence[int], answer: str) -> RolloutStats:
        """Facts about one completion.

        Args:
            ids: Token ids, without the forced control token and without padding.
            answer: Reference answer.

        Raises:
            ChrpoError: the grader failed, or returned no bool.
        """
        return self.read_all([ids], [answer])[0]

    def read_all(self, completions: Sequence[Sequence[int]], answers: Sequence[str]) -> list[RolloutStats]:
        """Facts about several completions, which are graded together.

        Args:
            completions: Token ids of each, without the forced control token and without padding.
            answers: Reference answer of each.

        Raises:
            ChrpoError: the grader failed, or returned no bool.
        """
        found = [self._read(ids) for ids in completions]
        finished = [index for index, each in enumerate(found) if each.finished]
        texts = [self.thinking_format.retagged(found[index].text, THINK) for index in finished]
        verdicts = grade_answers(self._grader, texts, [answers[index] for index in finished])
        correct = dict(zip(finished, verdicts, strict=True))
        thinking = [self._count(each.thinking.text) for each in found]
        return [
            RolloutStats(
                format_ok=not each.fault,
                correct=correct.get(index, False),
                truncated=not each.finished,
                thinking_tokens=thinking[index],
                completion_tokens=len(ids) + self._forced,
                integrity=EMPTY_THINKING * (not thinking[index]) + _repeats(ids[: len(ids) - each.finished]) / 2,
            )
            for index, (ids, each) in enumerate(zip(completions, found, strict=True))
        ]

    def refuse_step(self, count: int, completions: Sequence[Sequence[int]]) -> NoReturn:
        """Stop at a step of which no rollout has the right form, and quote its first ones.

        Args:
            count: Number of rollouts of the step.
            completions: Token ids of the first ones or of all, without the forced control token and without padding.

        Raises:
            ChrpoError: always, with three completions, what each lacks, and the remedy.
        """
        found = [self._read(ids) for ids in completions[:_QUOTED]]
        shown = [f"({n}) {each.fault or 'well formed'}: {_shortened(each.text)}" for n, each in enumerate(found, 1)]
        raise ChrpoError(
            f"none of the {count} rollouts of a step has the right form, so it teaches nothing: {' '.join(shown)}. "
            f"A rollout must end within the token limit, have one thinking block ({self.thinking_format}), and then "
            f"{self._form}. If the answers have another form, give --format (answer_format); if the thinking has other "
            "tags, --thinking-format (thinking_format); if answers are cut, raise --max-tokens (max_completion_length, "
            "data.max_response_length); if the model was not taught this form, train it with ratio-sft first"
        )

    def _read(self, ids: Sequence[int]) -> "_Completion":
        finished = bool(ids) and ids[-1] in self._ends
        body = list(ids[:-1] if finished else ids)
        with tokenizing(str(self._tokenizer.name_or_path)):
            text, (opens, closes) = decode_ids(self._tokenizer, self.thinking_format, body)
        thinking = self.thinking_format.split(text, (opens, closes))
        fault = ""
        if not finished:
            fault = "not finished"
        elif not (self._has_one_block(text, opens, closes) and thinking.closed):
            fault = "no single thinking block"
        elif not self._forbidden.isdisjoint(body):
            fault = "a special token inside"
        elif max(body, default=0) >= self._vocabulary:
            fault = "an id of a spare row of the embeddings, which is no token"
        elif not self._fits(thinking.answer):
            fault = "another form of answer"
        return _Completion(text, thinking, finished, fault)

    def _has_one_block(self, text: str, opens: list[int], closes: list[int]) -> bool:
        """True if a text begins inside the thinking block or with its opening tag, and each tag occurs once."""
        inside = self.thinking_format.opened
        begins = inside or bool(opens and not text[: opens[0]].strip())
        return begins and len(opens) == (0 if inside else 1) and len(closes) == 1

    def _count(self, text: str) -> int:
        with tokenizing(str(self._tokenizer.name_or_path)):
            return len(self._tokenizer.encode(text, add_special_tokens=False)) if text else 0


@dataclass(frozen=True)
class _Completion:
    """A completion as text; `fault` is what its form lacks, empty if it is well formed."""

    text: str
    thinking: Thinking
    finished: bool
    fault: str


def _shortened(text: str) -> str:
    """The text on one line, without its middle if it is long."""
    shown = text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS // 2]} … {text[-_SHOWN_CHARS // 2 :]}"
    return repr(shown)


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
