r"""Reading: an answer as people and models write it becomes a tree in which every character has its place.

`read` is all that other modules need. What cannot be placed makes the answer unread: its `tree` is None, and only an
answer that is spelt the same can equal it. Comparing trees is left to `equality`.

>>> from .tree import show
>>> show(read(r"\frac\pi6 \text{ or } 3\tfrac12").tree)
'pi / 6, 7/2'
>>> read(r"\begin{x} 1").tree is None
True
"""

import re
from functools import lru_cache
from typing import NamedTuple

from .statement import Statement
from .token import Token
from .tokens import tokenize
from .tree import Tree, Unread, levels

__all__ = ["Reading", "read"]

_GROUPED = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?![\d,])|\d,\d{3}(?!\d)")
_BRACKET = re.compile(r"[(\[{;]")
_EULER = re.compile(r"-?\d+e[-+][1-9]\d?")
_MAX_LEVELS = 100
"""Levels of a tree: brackets, and what needs none, such as `\\sin\\sin x` and `1/2/3`."""
_COMMA = re.compile(r"[-+]?(?:0(?=,\d)|\d+(?=,(?:\d\d|\d{4,})$)),\d+")


class Reading(NamedTuple):
    """An answer as it was read.

    Args:
        tree: Its tree, or None if it is unread.
        other: Another tree if a comma may separate members or thousands, or if `2e-3` may contain Euler's number.
        comma: The tree of a number with a decimal comma.
        spelling: Its tokens without style and spacing.
        reason: Why it is unread.
    """

    tree: Tree | None
    other: Tree | None
    comma: Tree | None
    spelling: str
    reason: str


@lru_cache(maxsize=4096)
def read(text: str) -> Reading:
    """The answer as a tree."""
    ambiguous = _GROUPED.search(text) is not None
    grouped = not ambiguous or _BRACKET.search(text) is None or re.search(r",\s", text) is not None
    tokens = tokenize(text, grouped=grouped)
    spelling = _spelling(tokens)
    tree, reason = _tree(tokens)
    other = comma = None
    if ambiguous:
        other, _ = _tree(tokenize(text, grouped=not grouped))
        if other is not None and grouped is False and _separators(other) < 1:
            other = None
    elif _EULER.fullmatch(text.strip()):
        other, _ = _tree(tokenize(text, scientific=False))
    if _COMMA.fullmatch(text.strip()):
        comma, _ = _tree(tokenize(text.replace(",", ".")))
    return Reading(tree, other, comma, spelling, reason)


def _tree(tokens: list[Token]) -> tuple[Tree | None, str]:
    if not tokens:
        return None, "it is empty"
    try:
        tree = Statement(tokens).answer()
    except Unread as error:
        return None, str(error)
    except RecursionError:
        return None, "it is nested too deeply"
    return (tree, "") if levels(tree) <= _MAX_LEVELS else (None, f"it has more than {_MAX_LEVELS} levels")


def _separators(tree: Tree) -> int:
    return len(tree.parts) - 1 if tree.kind in ("tuple", "set", "list") else 0


def _spelling(tokens: list[Token]) -> str:
    """The tokens in one line; the grouping braces around single tokens are left out."""
    text = " ".join(token.text for token in tokens)
    return re.sub(r"(?:[ .]|newline|quad)+$", "", re.sub(r"(?<=\^ |_ ){ (\S+) }", r"\1", text))
