# copied from packages/_shared/thinking.py; edit it there
"""How a model marks its thinking, and where thinking ends and the answer begins in a completion.

Which format a checkpoint has is left to `thinking_formats`, tags among token ids to `thinking_ids`, counting tokens to
the caller.

    split_thinking("<think>1 + 2 = 3</think>The answer is 3.").answer   # 'The answer is 3.'
    THINK.join("1 + 2 = 3", "The answer is 3.")      # '<think>1 + 2 = 3</think>The answer is 3.'
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"
_QUOTES = frozenset("`'\"“”‘’")
Places = tuple[list[int], list[int]]
"""Where the opening tags begin in a text, and where the closing ones do."""


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

    def __str__(self) -> str:
        """The tags, and who writes the opening one."""
        return f"{self.open} … {self.between}{self.close}, opened by the {'chat template' if self.opened else 'model'}"

    def after(self, prompt: str) -> "ThinkingFormat":
        """The same tags for a completion of a rendered prompt, which opens the block if it ends in the opening tag."""
        return replace(self, opened=prompt.rstrip().endswith(self.open))

    def parts(self, completion: str, places: Places | None = None) -> Parts:
        """Cut a completion at its outermost block: the first opening tag and the last closing tag.

        A tag in quotation marks is text. A closing tag that no opening tag precedes ends a block that the prompt
        opened. A block that opens after the last closing tag is never closed, and everything is thinking then. A
        completion without any tag is all answer, or all thinking if the prompt opened the block.

        Args:
            completion: Text of the completion.
            places: Where the tags are; by default, wherever the text has them.
        """
        found = places or (find_all(completion, self.open), find_all(completion, self.close))
        opens, closes = (_bare(completion, tag, at) for tag, at in zip((self.open, self.close), found, strict=True))
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

    def split(self, completion: str, places: Places | None = None) -> Thinking:
        """Thinking and answer of a completion (see `parts`); text before the opening tag belongs to neither."""
        parts = self.parts(completion, places)
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

    def retagged(self, completion: str, other: "ThinkingFormat") -> str:
        """A completion with the tags of another format around the same thinking.

        >>> ThinkingFormat("[THINK]", "[/THINK]").retagged("[THINK]1 + 2[/THINK]3", THINK)
        '<think>1 + 2</think>3'
        """
        parts = self.parts(completion)
        if self == other or not (parts.opening or parts.closing or self.opened):
            return completion
        return parts.before + other.join(parts.text, parts.answer if parts.closing else None)


THINK = ThinkingFormat(OPEN, CLOSE)


def split_thinking(completion: str, prompt: str = "", thinking_format: ThinkingFormat = THINK) -> Thinking:
    """Split a completion, by default of the most frequent format, `<think>`.

    A prompt that ends in the opening tag (as some chat templates do) counts as the opening tag.
    """
    return thinking_format.after(prompt).split(completion)


def find_all(text: str, tag: str) -> list[int]:
    """Where a tag begins in a text."""
    found: list[int] = []
    at = text.find(tag)
    while at >= 0:
        found.append(at)
        at = text.find(tag, at + len(tag))
    return found


def _bare(text: str, tag: str, places: list[int]) -> list[int]:
    """The places of a tag that does not stand between quotation marks."""
    width = len(tag)
    return [
        at for at in places if not (at and text[at - 1] in _QUOTES and text[at + width : at + width + 1] in _QUOTES)
    ]
