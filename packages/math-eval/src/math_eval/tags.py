"""Completions whose thinking has tags that the grader does not know, such as those of a file for `--thinking-format`.

Reading the usual tags is left to `grading.final_text`, naming formats to `_shared.thinking_formats`.

>>> as_graded("<plan>1 + 2</plan>3", "", ThinkingFormat("<plan>", "</plan>"))
('<think>1 + 2</think>3', '')
>>> as_graded("[THINK]1 + 2[/THINK]3", "", FORMATS["bracket-think"])
('[THINK]1 + 2[/THINK]3', '')
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from ._shared.thinking import THINK, ThinkingFormat
from ._shared.thinking_formats import FORMATS


def as_graded(completion: str, prompt: str, thinking: ThinkingFormat) -> tuple[str, str]:
    """A completion and its prompt as the grader reads them: unknown tags become `<think>` and `</think>`.

    Args:
        completion: Text of the completion.
        prompt: The rendered prompt, which shows whether it opens the block; if it is empty, the format does.
        thinking: Tags around the thinking.
    """
    known = replace(thinking, opened=False) in FORMATS.values()
    if known and (prompt or not thinking.opened):
        return completion, prompt
    return (thinking.after(prompt) if prompt else thinking).retagged(completion, THINK), ""


def own_text(completion: str, closing_text: str | None, thinking: ThinkingFormat) -> str:
    r"""A completion with the bare closing tag in place of a text that a run wrote to end the thinking.

    Args:
        completion: Text of the completion.
        closing_text: That part of it, as in the samples contract, or None.
        thinking: Tags around the thinking.

    >>> own_text("<think>1 + I have to stop.</think>2", " I have to stop.</think>", THINK)
    '<think>1 +\n</think>2'
    """
    if closing_text is None:
        return completion
    return completion.replace(closing_text, f"\n{thinking.between}{thinking.close}", 1)


def name_format(notify: Callable[[str], object] | None, thinking: ThinkingFormat) -> None:
    """Give `notify` a line with the tags, without who opens them: in evaluation each prompt shows that."""
    if notify is not None:
        notify(f"thinking format: {thinking.open} … {thinking.between}{thinking.close}")


def other_thinking(thinking: ThinkingFormat) -> dict[str, Any]:
    """The setting that a manifest has of thinking that is not between `<think>` and `</think>`."""
    return {} if thinking == THINK else {"thinking_format": asdict(thinking)}
