"""The place in a list of tokens: looking ahead, taking tokens, and refusing what has no place.

cursor = Cursor(tokenize("x + 1"))
cursor.peek().text, cursor.is_mark("+", ahead=1)     # ('x', True)
"""

from typing import NoReturn

from .token import Token
from .tree import Unread
from .words import word_set

_MAX_DEPTH = 28
END = Token("end", "")
"""The token after the last one."""
RELATIONS = word_set("= < > <= >= != ≈ ≡ ≅ ~ ∈ ∉ ∋ ⊂ ⊆ → ↦ ⇒ ⇔ ∝ ⊥ ∥")
"""Marks between the sides of a relation."""


class Cursor:
    """A place in tokens; `depth` and `bars` count the brackets and the absolute values around it."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        """The token `ahead` of this place; a token of kind `end` behind the last one."""
        index = self.at + ahead
        return self.tokens[index] if 0 <= index < len(self.tokens) else END

    def take(self) -> Token:
        """The next token, which is consumed."""
        self.at += 1
        return self.tokens[self.at - 1]

    def is_mark(self, *marks: str, ahead: int = 0) -> bool:
        """Whether the token `ahead` of this place is one of these marks."""
        token = self.peek(ahead)
        return token.kind == "mark" and token.text in marks

    def accept(self, *marks: str) -> str:
        """The next mark, which is consumed, if it is one of these; otherwise an empty string."""
        return self.take().text if self.is_mark(*marks) else ""

    def expect(self, *marks: str) -> str:
        """One of these marks, which is consumed; anything else has no place here."""
        mark = self.accept(*marks)
        if not mark:
            self.fail()
        return mark

    def fail(self) -> NoReturn:
        """Refuse the token at this place."""
        raise Unread(
            f"nothing is known of {self.peek().text!r} there" if self.at < len(self.tokens) else "it ends too early"
        )

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Unread(f"brackets are nested more than {_MAX_DEPTH} deep")
