r"""The grammar of words in answers: labels, phrases, hedges, remarks, options and sets of numbers in words.

A phrase is read, too: only equal or synonymous words equal it. Statements are left to `statement`, which extends this
class.

    Wording(tokenize("C) 7"))      # reads option C with the content 7
"""

from abc import ABC, abstractmethod

from .quantity import Quantities
from .tree import Tree, Unread, name
from .vocabulary import AND, ARTICLES, CONDITIONS, EQUALS, EXCEPT, HEDGES, NUMBERS, OR, REASONS, meaning

_SETS = {"real numbers": "ℝ", "integers": "ℤ"}
_OPTIONS = frozenset("ABCDEFGHIJ")
_MAX_LABEL = 12


class Wording(Quantities, ABC):
    """Reads words; what is between them is read by the methods that a subclass defines."""

    @abstractmethod
    def relation(self) -> Tree:
        """A relation or a value."""

    @abstractmethod
    def items(self) -> list[Tree]:
        """Statements between separators."""

    @abstractmethod
    def separator(self) -> bool:
        """Whether separators stand here, which are consumed."""

    @abstractmethod
    def listed(self, found: list[Tree]) -> Tree:
        """Statements as one tree."""

    def _skip_hedges(self) -> None:
        while True:
            token = self.peek()
            hedge = token.kind == "word" and token.text.lower() in HEDGES and not token.text.isupper()
            after_hedge = self.at == 0 or (token.text in ":," and self.peek(-1).text.lower() in HEDGES)
            if hedge or (token.kind == "mark" and token.text in ("≈", "~", ":", ",") and after_hedge):
                if self.at + 1 >= len(self.tokens):
                    return
                self.at += 1
            elif token.kind == "word" and token.text.lower() in ARTICLES and self.peek(1).kind == "word" and (
                self.peek(1).text.lower() in HEDGES
            ):  # fmt: skip
                self.at += 1
            else:
                return

    def _labelled(self) -> Tree | None:
        """`The area is 5`, `Area = 5`, `Total: 5`: words, a sign of equality, and a value."""
        index, words = 0, list[str]()
        while index < _MAX_LABEL and (
            self.peek(index).kind == "word"
            or (self.peek(index).kind == "letter" and index > 0)
            or (self.peek(index).kind == "function" and self.peek(index).upright and self.is_mark("=", ahead=index + 1))
        ):
            token = self.peek(index)
            if token.text.lower() in EQUALS and token.kind == "word":
                break
            if index == 0 and (token.text.isupper() or token.text.lower() in NUMBERS - {"one", "half"}):
                return None
            words.append(token.text)
            index += 1
        token = self.peek(index)
        by_word = token.kind == "word" and token.text.lower() in EQUALS
        if not words or not (
            by_word or self.is_mark("=", ahead=index) or (self.is_mark(":", ahead=index) and not self.colon_ends)
        ):
            return None
        start = self.at
        self.at += index + 1
        self._skip_hedges()
        try:
            value = self._labelled() or self.relation()
        except Unread:
            self.at = start
            return None
        return Tree("relation", (Tree("phrase", (), lower(words)), value), ("=",))

    def _phrase_of_numbers(self) -> Tree | None:
        """The real numbers or the integers in words, perhaps with exceptions."""
        index = 0
        while index < _MAX_LABEL and self.peek(index).kind in ("word", "letter"):
            if self.peek(index).text.lower() in EXCEPT | CONDITIONS:
                break
            index += 1
        words = tuple(token.text for token in self.tokens[self.at : self.at + index])
        symbol = _SETS.get(meaning(words))
        if symbol is None:
            return None
        self.at += index
        if excluded := self.exceptions():
            return Tree("difference", (name(symbol), Tree("set", excluded)))
        return name(symbol)

    def exceptions(self) -> tuple[Tree, ...]:
        """The values after `except`; none without the word."""
        if not (self.peek().kind == "word" and self.peek().text.lower() in EXCEPT):
            return ()
        self.take()
        if self.peek().kind == "word" and self.peek().text.lower() == "for":
            self.take()
        excluded = [self.relation()]
        while self.separator():
            excluded.append(self.relation())
        return tuple(one.parts[1] if one.kind == "relation" and one.data == ("=",) else one for one in excluded)

    def _phrase(self) -> Tree | None:
        words: list[str] = []
        while True:
            token = self.peek()
            hyphen = (
                token.kind == "mark"
                and token.text in ("-", "'", "/")
                and words
                and self.peek(1).kind in ("word", "letter")
            )
            if token.kind == "word" and token.text.lower() in AND | OR and words:
                break
            if token.kind not in ("word", "letter", "number", "vector", "function") and not hyphen:
                break
            words.append(token.text)
            self.at += 1
        return (
            Tree("phrase", (), lower(words)) if any(len(word) > 1 and not word[0].isdigit() for word in words) else None
        )

    def _value_words(self) -> Tree | None:
        if self.peek().text.lower() in NUMBERS | HEDGES or self.peek().text.isupper():
            return None
        return self._phrase()

    def _rest(self) -> Tree:
        """The remaining tokens as a phrase."""
        words = [token.text for token in self.tokens[self.at :]]
        if any(token.kind == "unknown" for token in self.tokens[self.at :]):
            self.fail()
        self.at = len(self.tokens)
        return Tree("phrase", (), lower(words))

    def _begins_reason(self) -> bool:
        word = self.peek().text.lower()
        return word in REASONS

    def _option(self) -> Tree | None:
        """`(B) 12`, `C) 7`, `D: words`, `Option C`: an option's letter, perhaps with its content."""
        start = self.at
        if self.peek().kind == "word" and self.peek().text.lower() in ("option", "choice", "answer"):
            self.take()
        named = self.at > start
        braced = self.is_mark("{") and self.is_mark("(", ahead=1) and self.is_mark("}", ahead=4)
        self.at += braced
        bracket = bool(self.accept("("))
        token = self.peek()
        if token.kind == "letter" and token.text in _OPTIONS:
            self.take()
            mark = self.accept(")") if bracket else self.accept(")", ".", ":")
            if bracket and mark and self.at + 1 < len(self.tokens):
                self.accept(":", ".")
            self.at += braced
            rest = self.peek()
            ended = self.at >= len(self.tokens) or (self.is_mark(".") and self.at + 1 == len(self.tokens))
            if ended and (named or mark in (")", "", ".")) and bracket == (mark == ")"):
                if named or token.upright or bracket or mark:
                    return Tree("option", (), token.text)
            elif (
                (mark or named)
                and not ended
                and rest.text.lower() not in AND | OR
                and (rest.gap or rest.kind == "word" or token.upright)
                and (rest.kind != "mark" or rest.text in ("(", "$", "-", r"\{"))
            ):
                return Tree("option", (self._content(),), token.text)
        self.at = start
        return None

    def _content(self) -> Tree:
        start = self.at
        try:
            tree = self.listed(self.items())
            while self.accept(".", ","):
                pass
            if self.at == len(self.tokens):
                return tree
        except Unread:
            pass
        self.at = start
        return self._rest()


def lower(words: list[str]) -> tuple[str, ...]:
    """Words in lower case; single letters keep theirs."""
    return tuple(word.lower() if len(word) > 1 else word for word in words)
