r"""The grammar of expressions: sums, products, powers, and everything between brackets.

Text with two meanings, such as `1/2x`, is not read. Numbers, letters and functions are read by `atoms`; lists,
relations, units and words by `statement`, which extends this class.

>>> from .tokens import tokenize
>>> from .tree import show
>>> show(Expression(tokenize(r"\sqrt\frac23 + 3^\frac12")).sum())
'sqrt(2 / 3) + 3^(1 / 2)'
"""

import math
from typing import ClassVar

from .atoms import Atoms
from .cursor import RELATIONS
from .token import Token
from .tree import Tree, name, number
from .units import find_unit
from .vocabulary import NUMBERS, number_of
from .words import word_set

_CLOSERS = {
    "(": (")", "]"),
    "[": ("]", ")", "["),
    "]": ("[", "]"),
    r"\{": (r"\}",),
    "{": ("}",),
    "⟨": ("⟩",),
    "<": (">",),
    "⌊": ("⌋",),
    "⌈": ("⌉",),
}
_ENDS = frozenset({")", "]", r"\}", "}", "⟩", "⌋", "⌉"})
_SEPARATING = frozenset({",", ";", "row", "&"}) | RELATIONS
_MAX_BARRED = 200
_POWERS = {"squared": 2, "cubed": 3}
_MAX_DOUBLE = 300
_EXPLICIT = {"*": "*", "×": "×", "÷": "/", "/": "/"}
_UNIT_LETTERS = word_set("m s g h L l A V W J N K C F T S E")


class Expression(Atoms):
    """A recursive-descent reader of tokens; each method reads one form and moves on."""

    _readers: ClassVar = {
        "number": Atoms._number,
        "letter": Atoms._letter,
        "vector": Atoms._letter,
        "function": Atoms._function,
        "macro": Atoms._structure,
        "accent": Atoms._accent,
        "big": Atoms._big,
        "begin": lambda self: self._environment(),
    }

    def sum(self) -> Tree:
        """Products with signs between them."""
        parts: list[Tree] = []
        sign = self.accept("+", "-", "±", "∓") or ("-" if self._minus_word() else "+")
        while sign:
            part = self.product()
            wrapped = {"-": "negative", "±": "plusminus", "∓": "minusplus"}.get(sign)
            if wrapped == "negative" and part.kind == "number":
                part = number(-part.data[0], part.data[1])
            elif wrapped == "negative" and part.kind in ("quantity", "degrees", "percent"):
                part = part._replace(parts=(Tree("negative", part.parts),))
            elif wrapped:
                part = Tree(wrapped, (part,))
            parts.append(part)
            sign = self.accept("+", "-", "±", "∓")
        total = parts[0] if len(parts) == 1 else Tree("sum", tuple(parts))
        if self.is_mark("over"):
            self.take()
            return Tree("quotient", (total, self.sum()))
        if self.is_mark("choose"):
            self.take()
            return Tree("function", (total, self.sum()), "binom")
        return total

    def _minus_word(self) -> bool:
        """Whether the next words are `negative` or `minus` and a number; the first one is consumed."""
        word = self.peek().kind == "word" and self.peek().text.lower() in ("negative", "minus")
        after = self.peek(1)
        found = word and (after.kind in ("number", "macro") or after.text == "infty" or after.text.lower() in NUMBERS)
        self.at += found
        return found

    def product(self, *, argument: bool = False) -> Tree:
        """A product; as the argument of a function it ends at an explicit multiplication or another function."""
        start = self.at
        factors = [self.factor()]
        divided = False
        while True:
            token = self.peek()
            if token.kind == "mark" and token.text in _EXPLICIT:
                if self._ends_product(start) if argument else not self._begins_operand():
                    break
                divided = self._explicit(factors, self.take().text)
            elif self._begins_factor() and not (argument and token.kind == "function"):
                if token.kind == "number" and self.tokens[self.at - 1].text not in (")", "}", "]"):
                    self.fail()
                if self._is_short_time():
                    break
                if divided and not (token.gap and all(part.kind == "number" for part in factors[-1].parts)):
                    self.fail()  # `1/2x` has two meanings
                factors.append(self.factor())
            else:
                break
        return factors[0] if len(factors) == 1 else Tree("product", tuple(factors))

    def _ends_product(self, start: int) -> bool:
        """Whether the argument of a function ends at this explicit multiplication or division."""
        if not self.is_mark("/"):
            return True
        if self.tokens[self.at - 1].text == "pi":
            return False
        if not self._is_group(start):
            self.fail()  # `ln 5/2` has two meanings
        return True

    def _begins_operand(self) -> bool:
        return self._begins_factor(1) or self.is_mark("-", "+", ahead=1)

    def _explicit(self, factors: list[Tree], mark: str) -> bool:
        """Read the operand after a sign of multiplication or division; whether it was a division."""
        other = self._signed_factor()
        if _EXPLICIT[mark] == "/":
            factors[:] = [
                Tree("quotient", (factors[0] if len(factors) == 1 else Tree("product", tuple(factors)), other))
            ]
        elif mark == "×" and (_is_vector(factors[-1]) or _is_vector(other) or _is_capital(factors[-1], other)):
            factors[-1] = Tree("cross", (factors[-1], other))
        else:
            factors.append(other)
        return _EXPLICIT[mark] == "/"

    def _is_short_time(self) -> bool:
        return False

    def _is_group(self, start: int) -> bool:
        """Whether the argument since `start` begins with a bracket or fraction, which a division is no part of."""
        first = self.tokens[start]
        return first.text in ("(", "{", "frac", "|")

    def _signed_factor(self) -> Tree:
        sign = self.accept("-", "+")
        value = self.factor()
        return Tree("negative", (value,)) if sign == "-" else value

    def _begins_factor(self, ahead: int = 0) -> bool:
        token = self.peek(ahead)
        if token.kind == "mark":
            if token.text in ("|", "‖"):
                return self.bars == 0 and (ahead > 0 or self._opens_bars(token.text))
            if token.text == "(" and self.peek(ahead + 1).kind == "word":
                return _is_factor_word(self.peek(ahead + 1))
            if token.text == "(" and self._holds_relation(self.at + ahead):
                return False
            return token.text in ("(", "{", "⌊", "⌈", r"\{") or (token.text == "[" and ahead > 0)
        if token.text == "Omega" and token.gap and self.peek(ahead - 1).kind == "number":
            return self._begins_argument(ahead + 1) or self.is_mark("_", "^", ahead=ahead + 1)
        if token.kind == "letter" and token.upright:
            value_before = self.peek(ahead - 1)
            return token.text not in _UNIT_LETTERS or value_before.kind not in ("number", "mark", "end")
        if token.kind == "function":
            unit = find_unit(token.text) is not None and self.peek(ahead - 1).kind in ("number", "mark", "macro")
            return not unit or self.is_mark("^", "_", ahead=ahead + 1) or self._begins_argument(ahead + 1)
        return token.kind in ("number", "letter", "vector", "macro", "accent", "big", "begin") or (
            ahead > 0 and token.kind == "word" and token.text.isupper()
        )

    def _opens_bars(self, mark: str) -> bool:
        """Whether a bar at this place begins an absolute value: the bars up to the bracket's end are an even number."""
        depth = bars = 0
        for token in self.tokens[self.at : self.at + _MAX_BARRED]:
            if token.kind == "mark":
                depth += (token.text in _CLOSERS) - (token.text in _ENDS)
                if depth < 0 or (depth == 0 and token.text in _SEPARATING):
                    break
                bars += depth == 0 and token.text == mark
        return bars > 0 and bars % 2 == 0

    def _begins_argument(self, ahead: int) -> bool:
        """Whether the token there is a number, a letter, a fraction or a bracket."""
        return self.peek(ahead).kind in ("number", "letter", "macro") or self.is_mark("(", "{", "|", ahead=ahead)

    def _holds_relation(self, at: int) -> bool:
        """Whether the bracket at a token contains a relation."""
        depth = 0
        for token in self.tokens[at:]:
            if token.kind == "mark":
                depth += (token.text in ("(", "{")) - (token.text in (")", "}"))
                if depth == 0:
                    return False
                if depth == 1 and token.text in RELATIONS:
                    return True
        return False

    def factor(self) -> Tree:
        """An operand with its powers, factorials, degrees, percent sign or base."""
        value = self.atom()
        while True:
            if self.is_mark("^"):
                value = self._raised(value)
            elif self.is_mark("!") and self.is_mark("!", ahead=1) and not self.peek(1).gap:
                self.at += 2
                value = self._double_factorial(value)
            elif self.accept("!"):
                value = Tree("factorial", (value,))
            elif self.accept("°"):
                value = self._degrees(value)
            elif self.accept("%"):
                value = Tree("percent", (value,))
            elif self.is_mark("_") and value.kind == "number" and value.data[1] == 0:
                self.take()
                value = self._based(value)
            elif self.peek().kind == "word" and (operated := self._operated(value)) is not None:
                value = operated
            else:
                return value

    def _operated(self, value: Tree) -> Tree | None:
        """What the next words make of the operand before them; None if they are no operation."""
        words = [self.peek(ahead).text.lower() for ahead in range(5)]
        if words[0] in _POWERS:
            self.take()
            return Tree("power", (value, number(_POWERS[words[0]])))
        raised = words[0] == "raised"
        if words[raised : raised + 3] == ["to", "the", "power"]:
            self.at += raised + 3 + (words[raised + 3 : raised + 4] == ["of"])
            return Tree("power", (value, self._signed_factor()))
        if words[0] == "choose" and self._begins_factor(1):
            self.take()
            return Tree("function", (value, self.factor()), "binom")
        if words[:2] == ["out", "of"] and self.peek(2).kind == "number":
            self.at += 2
            return Tree("quotient", (value, self.factor()))
        return None

    def _double_factorial(self, value: Tree) -> Tree:
        """The product of every second number, for a small number."""
        small = value.kind == "number" and value.data[0].denominator == 1 and 0 <= value.data[0] <= _MAX_DOUBLE
        if not small or self.is_mark("!"):
            self.fail()
        return number(math.prod(range(int(value.data[0]), 0, -2)))

    def _raised(self, base: Tree) -> Tree:
        self.take()
        if self.accept("∘", "°"):
            return self._degrees(base)
        if self.is_mark("{") and self.is_mark("∘", "°", ahead=1) and self.is_mark("}", ahead=2):
            self.at += 3
            return self._degrees(base)
        power = Tree("power", (base, self.script()))
        if self.is_mark("^"):
            self.fail()  # `2^3^2` has two meanings
        return power

    def script(self) -> Tree:
        """An exponent or index: a group, or one signed number, letter or macro."""
        if self.is_mark("{"):
            return self.group()
        if self.accept("-"):
            value = self._script_atom()
            return number(-value.data[0], value.data[1]) if value.kind == "number" else Tree("negative", (value,))
        self.accept("+")
        return self._script_atom()

    def _script_atom(self) -> Tree:
        token = self.peek()
        if token.kind == "number":
            self.take()
            return number(token.value, token.places)
        if token.kind in ("letter", "vector"):
            self.take()
            return name(token.text)
        if token.kind == "mark" and token.text in ("*", "'"):
            return name(self.take().text)
        return self.atom()

    def _degrees(self, value: Tree) -> Tree:
        for word, unit in (("C", "°C"), ("F", "°F")):
            token = self.peek()
            if token.text in (word, unit) and token.kind in ("letter", "word") and not self._begins_factor(1):
                self.take()
                return Tree("quantity", (value,), (((unit, 1),), ()))
        parts = [value]
        for mark, size in (("'", 60), ("''", 3600)):
            if self.peek().kind == "number" and self.is_mark("'", ahead=1):
                double = self.is_mark("'", ahead=2)
                if double != (mark == "''"):
                    continue
                token = self.take()
                self.at += len(mark)
                parts.append(number(token.value / size))
        return Tree("degrees", (parts[0] if len(parts) == 1 else Tree("sum", tuple(parts)),))

    def _based(self, value: Tree) -> Tree:
        if self.is_mark("{") and self.peek(1).text == "base" and self.is_mark("}", ahead=3):
            self.tokens[self.at + 1] = self.tokens[self.at + 2]
            del self.tokens[self.at + 2]
        digits, index = str(int(value.data[0])), self.script()
        if index.kind == "phrase":
            index = number(number_of(list(index.data)) or 0)
        if index.kind != "number" or not 2 <= index.data[0] <= 36 or int(max(digits)) >= index.data[0]:
            self.fail()
        return Tree("digits", (), (digits, int(index.data[0])))

    def atom(self) -> Tree:
        """One operand without signs, powers and what follows it."""
        token = self.peek()
        if (read := self._readers.get(token.kind)) is not None:
            return read(self)
        if token.kind == "word":
            return self._word()
        if token.kind == "mark":
            if token.text in ("|", "‖"):
                return self._absolute()
            if token.text == "…":
                self.take()
                return name("…")
            if token.text in _CLOSERS:
                return self.group()
        self.fail()

    def _word(self) -> Tree:
        """A number in words, or capital letters in order."""
        token = self.peek()
        article = token.text == "a" and self.peek(1).text.lower() in NUMBERS
        if article or (token.text.lower() in NUMBERS and not token.text.isupper()):
            return self._number_words()
        if not token.text.isupper() or len(token.text) == 1 or not token.text.isascii():
            self.fail()
        self.take()
        return Tree("word", (), token.text + self._index() + self._primes())

    def group(self) -> Tree:
        """The content of brackets; `statement` reads lists, sets and intervals there."""
        opening = self.take().text
        self._deeper()
        inside = self.sum()
        self.depth -= 1
        self.expect(*_CLOSERS[opening])
        return inside


def _is_factor_word(token: Token) -> bool:
    return token.text.lower() in NUMBERS or (token.text.isupper() and token.text.isascii())


def _is_capital(one: Tree, two: Tree) -> bool:
    """Whether both are capital letters, such as sets or matrices, whose product has an order."""
    return all(tree.kind == "name" and len(tree.data) == 1 and tree.data.isupper() for tree in (one, two))


def _is_vector(tree: Tree) -> bool:
    text = tree.data if tree.kind == "name" else ""
    return text.startswith(("vec ", "overrightarrow ")) or tree.kind == "cross"
