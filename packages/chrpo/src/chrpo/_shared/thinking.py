# copied from packages/_shared/thinking.py; edit it there
"""How a model marks its thinking, and where thinking ends and the answer begins in a completion.

Which format a checkpoint has is left to `thinking_formats`, counting tokens to the caller.

    split_thinking("<think>1 + 2 = 3</think>The answer is 3.").answer   # 'The answer is 3.'
    THINK.join("1 + 2 = 3", "The answer is 3.")      # '<think>1 + 2 = 3</think>The answer is 3.'
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"
_QUOTES = frozenset("`'\"“”‘’")


@dataclass(frozen=True)
class Thinking:
    """A completion in its two parts, both stripped of surrounding white space.

    `closed` is False if a thinking block was opened and never closed: then all of it is thinking and `answer` is empty.
    """

    text: str
    answer: str
    closed: bool


class Parts(NamedTuple):
    """A completion cut at its tags; the five texts together are the completion, character for character."""

    before: str
    opening: str
    text: str
    closing: str
    answer: str


@dataclass(frozen=True)
class ThinkingFormat:
    """The tags around a model's thinking.

    Args:
        open: The opening tag.
        close: The closing tag; the answer follows it.
        between: Text that comes directly before the closing tag and is no thinking, such as the end of a message.
        opened: True if the chat template's generation prompt ends in the opening tag, so that a completion begins
            inside the block.
    """

    open: str
    close: str
    between: str = ""
    opened: bool = False

    def parts(self, completion: str) -> Parts:
        """Cut a completion at its outermost block: the first opening tag and the last closing tag.

        A tag in quotation marks is text. A closing tag that no opening tag precedes ends a block that the prompt
        opened. A block that opens after the last closing tag is never closed, and everything is thinking then. A
        completion without any tag is all answer, or all thinking if the prompt opened the block.
        """
        opens, closes = _bare(completion, self.open), _bare(completion, self.close)
        start = begin = 0
        if opens and not (closes and closes[0] < opens[0]) and not (self.opened and completion[: opens[0]].strip()):
            start, begin = opens[0], opens[0] + len(self.open)
        elif not closes and not self.opened:
            return Parts("", "", "", "", completion)
        before, opening = completion[:start], completion[start:begin]
        if not closes or closes[-1] < begin or (opens and opens[-1] > closes[-1]):
            return Parts(before, opening, completion[begin:], "", "")
        end = closes[-1] + len(self.close)
        text = completion[begin : closes[-1]].removesuffix(self.between)
        return Parts(before, opening, text, completion[begin + len(text) : end], completion[end:])

    def split(self, completion: str) -> Thinking:
        """Thinking and answer of a completion; text before the opening tag belongs to neither."""
        parts = self.parts(completion)
        closed = bool(parts.closing) or not (parts.opening or self.opened)
        return Thinking(parts.text.strip(), parts.answer.strip(), closed)

    def join(self, thinking: str | None, answer: str | None) -> str:
        """The completion of a response that a server gives in two fields, without a change to either.

        Args:
            thinking: Field `reasoning_content`; None if the response has none.
            answer: Field `content`; None if the response ends inside the thinking.
        """
        if thinking is None:
            return answer or ""
        opened = thinking if self.opened else self.open + thinking
        return opened if answer is None else opened + self.between + self.close + answer


THINK = ThinkingFormat(OPEN, CLOSE)


def split_thinking(completion: str, prompt: str = "") -> Thinking:
    """Split a completion of the most frequent format, `<think>`.

    A prompt that ends in `<think>` (as some chat templates do) counts as the opening tag.
    """
    return replace(THINK, opened=prompt.rstrip().endswith(THINK.open)).split(completion)


def _bare(text: str, tag: str) -> list[int]:
    """Where a tag begins that does not stand between quotation marks."""
    found: list[int] = []
    at = text.find(tag)
    while at >= 0:
        end = at + len(tag)
        if not (at and text[at - 1] in _QUOTES and text[end : end + 1] in _QUOTES):
            found.append(at)
        at = text.find(tag, end)
    return found
