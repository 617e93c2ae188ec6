# copied from packages/_shared/thinking.py; edit it there
"""Where thinking ends and the answer begins in a completion.

Counting tokens is left to the caller.

    split_thinking("<think>1 + 2 = 3</think>The answer is 3.").answer   # 'The answer is 3.'
"""

from dataclasses import dataclass

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Thinking:
    """A completion in its two parts, both stripped of surrounding white space.

    `closed` is False if a thinking block was opened and never closed: then all of it is thinking and `answer` is empty.
    """

    text: str
    answer: str
    closed: bool


def split_thinking(completion: str, prompt: str = "") -> Thinking:
    """Split at the first `</think>` after the first `<think>`.

    A prompt that ends in `<think>` (as some chat templates do) counts as the opening tag; so does a lone `</think>`.
    A completion without any tag is all answer.
    """
    _, opened, rest = completion.partition(OPEN)
    if not opened:
        head, closing, tail = completion.partition(CLOSE)
        if closing:
            return Thinking(head.strip(), tail.strip(), True)
        if prompt.rstrip().endswith(OPEN):
            return Thinking(completion.strip(), "", False)
        return Thinking("", completion.strip(), True)
    text, closing, answer = rest.partition(CLOSE)
    return Thinking(text.strip(), answer.strip(), bool(closing))
