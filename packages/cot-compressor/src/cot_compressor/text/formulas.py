"""Finds formulas written in plain text, without delimiters: `48/2 = 24`, `12 x $5 = $60`, `P(C) = 1 - P(A)`.

Most of the mathematics in thinking traces is written this way. A small recursive-descent parser over the tokens of
`tokens.py` joins the longest run of tokens that is an expression or a chain of relations, and stops where prose
begins. A bracket that was no formula is remembered and nesting is limited, so every token is visited a bounded number
of times. Formulas between LaTeX delimiters are found in `latex.py`.

>>> from cot_compressor.text.segment import segment
>>> text = "so 12 x $5 = $60."
>>> [text[unit.start : unit.end] for unit in segment(text)]
['so', '12 x $5 = $60', '.']
"""

import math
from typing import Literal, NamedTuple

from .tokens import Tokens

_MAX_DEPTH = 12
_MAX_GAP = 4
_MAX_CALL = 40
_LONGEST_FENCED = 100
"""Tokens between two equal marks; a mark that is never closed costs no more than these."""
_FACTORIAL_REACH = 40
_ALONE: dict[str, Literal["math", "number"] | None] = {"N": "number", "V": None, "M": "math"}
"""Token type -> kind of unit, for a token that no formula continues; None if such a token is no formula."""
_PAIRS = {")": "([", "]": "[(", "}": "{", "⌋": "⌊", "⌉": "⌈"}
"""Closing bracket -> brackets that may open it; an interval may be half open, as in `[0, 5)`."""


def word_set(text: str) -> frozenset[str]:
    """The words of a text that are separated by white space."""
    return frozenset(text.split())


FUNCTIONS = word_set("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp sqrt cbrt")
"""Words that begin a formula if a bracket, a number or a variable follows."""
_FUNCTIONS = FUNCTIONS | word_set("abs floor ceil round gcd lcm max min mod det binom choose comb perm lim sum prod")
_WORD_OPERATORS = frozenset(["times", "plus", "minus", "mod", "choose"])
WITH_BY = frozenset(["divided", "multiplied"])
"""Words that are an operator together with the word `by`."""
_PREFIXES = "√∠△"
_MARKS = frozenset(["*", "**", "_", "__", '"', "'", "“", "”", "‘", "’", "(", ")", "[", "]"])
_MOST_MARKS = 3
_LONGEST_ASIDE = 8
PROSE = word_set(
    "a an the and or but so then thus hence wait hmm yes no not is are was be of to in for from at by with on as it "
    "that this these those which if since because we i you he she they let therefore also now okay ok each per when "
    "where while than into there here has have had will would can could should do does did all both only just"
)
MEASURES = word_set(
    "km m cm mm nm kg g mg l ml ft inch inches foot feet yard yards mile miles metre metres meter meters centimetre "
    "centimetres centimeter centimeters kilometre kilometres kilometer kilometers litre litres liter liters gram grams "
    "kilogram kilograms pound pounds ounce ounces lb lbs oz ton tons tonne tonnes s ms sec second seconds min minute "
    "minutes h hr hrs hour hours day days week weeks month months year years decade decades century centuries dollar "
    "dollars cent cents euro euros degree degrees percent percentage volt volts amp amps ampere amperes watt watts "
    "joule joules newton newtons pascal pascals ohm ohms hertz mol moles mole kelvin "
    "celsius fahrenheit cal kcal calorie "
    "calories byte bytes bit bits mph km/h kph rpm V A W J N K C F Hz kHz MHz GHz kW kWh MW kJ kPa Pa MPa atm eV keV "
    "MeV kB MB GB TB KB mL L mmol mM mg/dL mmHg bpm"
)
"""Words for a unit of measurement, which belongs to the number before it."""


class _Read(NamedTuple):
    """A parsed formula: the token after it, and whether it is more than one number, word or bracketed atom."""

    stop: int
    compound: bool


class FormulaFinder:
    """Finds the formula that begins at a given token, if there is one."""

    def __init__(self, tokens: Tokens) -> None:
        self.text, self.types, self.starts, self.ends = tokens
        self.failed: set[int] = set()
        self.partners = self._match_brackets() if "A" in self.types else {}

    def _match_brackets(self) -> dict[int, int]:
        """Index of each opening bracket -> index of its closing bracket."""
        partners: dict[int, int] = {}
        stack: list[int] = []
        for at, kind in enumerate(self.types):
            if kind == "A":
                stack.append(at)
            elif kind == "Z" and stack:
                if self.text[self.ends[stack[-1]] - 1] in _PAIRS[self.text[self.ends[at] - 1]]:
                    partners[stack.pop()] = at
                else:
                    stack.clear()
        return partners

    def formula_at(self, at: int) -> tuple[int, Literal["math", "number"]] | None:
        """The formula or signed number that begins at token `at`, as (token after it, kind), or None."""
        kind = self.types[at]
        if kind in _ALONE and self._is_alone(at, kind):
            alone = _ALONE[kind]
            return (at + 1, alone) if alone else None
        if kind in {"N", "V", "W", "M", "L", "A"} or self._opens_signed(at):
            read = self._relation(at, 0)
            if read is not None and (read.compound or kind == "M"):
                return read.stop, "math"
            if read is not None and self.types[read.stop - 1] == "N" and kind in {"N", "O"}:
                return read.stop, "number"
        elif kind == "O" and at and self.near(at) and self.near(at + 1) and self._type(at + 1) in {"N", "M"}:
            if self._is_emphasis(at):
                return None
            # The text before could not be parsed; without this sign, the text after it would state something else.
            read = self._relation(at + 1, 0)
            if read is not None and "R" in self.types[at + 1 : read.stop]:
                return read.stop, "math"
        return None

    def _is_alone(self, at: int, kind: str) -> bool:
        """True if no formula goes beyond the token at `at`, decided from the next token: the usual case, and cheap."""
        if at + 1 == len(self.types):
            return True
        follower = self.types[at + 1]
        if follower == "P":
            return self.text[self.starts[at + 1]] != "!"
        return follower == "W" and kind != "N" and not self.glued(at + 1) and self.operator(at + 1) is None

    def _opens_signed(self, at: int) -> bool:
        """True for `-5`, `|x - 3|` and `√2`, unless the sign directly follows another token."""
        symbol = self.text[self.starts[at]]
        if self.types[at] == "O":
            return symbol in "-−±+" and self.glued(at + 1) and not self.glued(at)
        return symbol in "|" + _PREFIXES and at + 1 < len(self.types) and self.glued(at + 1)

    def _type(self, at: int) -> str:
        return self.types[at] if at < len(self.types) else ""

    def token(self, at: int) -> str:
        """The text of token `at`; empty after the last token."""
        return self.text[self.starts[at] : self.ends[at]] if at < len(self.types) else ""

    def glued(self, at: int) -> bool:
        """True if there is no white space between token `at` and the token before it."""
        return 0 < at < len(self.types) and self.starts[at] == self.ends[at - 1]

    def near(self, at: int) -> bool:
        """True if token `at` follows the token before it closely and on the same line."""
        if at >= len(self.types):
            return False
        low, high = self.ends[at - 1], self.starts[at]
        return low == high or (high - low <= _MAX_GAP and self.text.find("\n", low, high) < 0)

    def after_marks(self, at: int, *, brackets: bool) -> int:
        """The token after at most three marks of emphasis, quotes and, with `brackets`, brackets: `not **prime**`."""
        stop = at
        while stop < at + _MOST_MARKS and self.token(stop) in _MARKS and self.near(stop):
            if self.types[stop] == "A" and (not brackets or self.formula_at(stop)):
                break
            stop += 1
        return stop

    def marks_closed(self, opened: int, target: int, stop: int) -> int:
        """The token after the marks at `stop` that close the marks from `opened` up to `target`."""
        marks = {self.token(at) for at in range(opened, target)}
        close = max((self.partners.get(at, 0) for at in range(opened, target)), default=0)
        if stop <= close < stop + _LONGEST_ASIDE:
            stop = close + 1
        for _ in range(_MOST_MARKS):
            if self.token(stop) in marks & _MARKS and self.glued(stop) and self.types[stop] != "A":
                stop += 1
        return stop

    def operator(self, at: int) -> tuple[int, bool] | None:
        """(token after the operator, whether it is a relation) if there is an operator at `at` between operands."""
        kind = self._type(at)
        if kind == "R":
            if not self.near(at) and self.text.count("\n", self.ends[at - 1], self.starts[at]) != 1:
                return None
            symbol = self.text[self.starts[at]]
            if symbol in "<>" and self.glued(at) != self.glued(at + 1):
                return None
            return (at + 1, True) if self.near(at + 1) else None
        if not self.near(at) or not self.near(at + 1):
            return None
        if kind == "O":
            operand = self.types[at - 1] in {"N", "Z"} or self.token(at - 1) == "!"
            if self._is_emphasis(at) and not (operand and self._type(at + 1) in {"N", "A"}):
                return None
            return at + 1, False
        if kind == "V" and self.token(at) in {"x", "X"} and self.glued(at) == self.glued(at + 1):
            return (at + 1, False) if self._type(at + 1) in {"N", "A", "M"} else None
        if kind == "W" and self.token(at) in _WORD_OPERATORS:
            return at + 1, False
        if kind == "W" and self.token(at) in WITH_BY and self.token(at + 1) == "by" and self.near(at + 2):
            return at + 2, False
        if kind == "W" and self.token(at) == "of" and self._is_share(at - 1) and self._type(at + 1) in {"N", "M"}:
            return at + 1, False
        return None

    def _is_emphasis(self, at: int) -> bool:
        """True for stars with white space on one side only, as in `**27** = 27`."""
        return self.token(at) in {"*", "**"} and self.glued(at) != self.glued(at + 1)

    def _is_share(self, at: int) -> bool:
        """True if a share ends at token `at`, as in `50% of 120` and `1/3 of 27`."""
        return self.types[at] == "M" or (self.types[at] == "N" and ("%" in self.token(at) or self.token(at - 1) == "/"))

    def _relation(self, at: int, depth: int, most: float = math.inf) -> _Read | None:
        """The longest `operand (operator operand)*` from token `at`; no operand begins after `most` tokens."""
        first = self._operand(at, depth, after=False)
        if first is None:
            return None
        stop, compound = first
        seen: set[str] = set()
        while True:
            after, nouns = self._measurement_unit(stop)
            rate = after > stop and self.types[after - 2] == "O"
            operator = self.operator(after) if after - at < most else None
            operand = self._operand(operator[0], depth, after=True) if operator else None
            if operand is None and (rate or (compound and nouns & (seen | MEASURES))):
                return _Read(after, True)
            if operand is None:
                # A noun belongs to a formula only if the formula has used it before; otherwise it is a word.
                return _Read(self._list_end(stop) if compound else stop, compound)
            seen |= nouns
            stop, compound = operand.stop, True

    def _measurement_unit(self, at: int) -> tuple[int, set[str]]:
        """The token after the unit of measure at `at`, as in `20 eggs x $2` or `$50/week`, and its nouns."""
        stop, nouns = at, set[str]()
        if self._type(at - 1) == "N":
            if self._is_noun(at) and not self.glued(at) and self.near(at) and not self.operator(at):
                stop, nouns = at + 1, {self.token(at)}
            # After a number alone, a letter is a divisor.
            while self.token(stop) == "/" and self.glued(stop) and self.glued(stop + 1) and self._is_noun(stop + 1):
                if not nouns and self.types[stop + 1] == "V":
                    break
                stop, nouns = stop + 2, nouns | {self.token(stop + 1)}
        return stop, nouns

    def _is_noun(self, at: int) -> bool:
        word = self.token(at)
        return self._type(at) in {"W", "V"} and word.lower() not in PROSE and word not in _WORD_OPERATORS

    def _list_end(self, at: int) -> int:
        """The token after a list of numbers whose commas have no space, as in `n = 5,6,13`."""
        stop = at
        while self.token(stop) == "," and self.glued(stop) and self.glued(stop + 1) and self._type(stop + 1) == "N":
            stop += 2
        return at if stop == at or self._type(at - 1) != "N" or self.operator(stop) else stop

    def _operand(self, at: int, depth: int, *, after: bool) -> _Read | None:
        """A number, variable, call, bracket or delimited formula, with the suffixes that follow it without a space."""
        signed = self._type(at) == "O" and self.text[self.starts[at]] in "-−±+" and self.glued(at + 1)
        rooted = self.token(at) in _PREFIXES and self._type(at) == "P"
        if signed or rooted:
            at += 1
        head = self._head(at, depth, after=after)
        if head is None:
            return None
        read = self._suffixes(head, depth)
        return _Read(read.stop, True) if rooted else read

    def _head(self, at: int, depth: int, *, after: bool) -> _Read | None:
        kind = self._type(at)
        if kind == "N" and self._is_mixed(at):
            return _Read(at + 4, True)
        if kind in {"N", "M"}:
            return _Read(at + 1, kind == "M")
        if kind == "V":
            return self._call(at) or _Read(at + 1, False)
        if kind == "L":
            return _Read(at + 1, True)
        if kind == "E":
            return _Read(at + 1, False) if after and self.operator(at + 1) else None
        if kind == "A":
            return self._group(at, depth)
        if kind == "W":
            return self._word(at, depth, after=after)
        if after or kind == "P":
            return self._fenced(at, depth)
        return None

    def _is_mixed(self, at: int) -> bool:
        """True for `3 1/2`."""
        if self._type(at + 1) != "N" or self.token(at + 2) != "/" or self._type(at + 3) != "N":
            return False
        parts = [self.token(at), self.token(at + 1), self.token(at + 3)]
        spaced = self.text[self.ends[at] : self.starts[at + 1]] == " "
        return (
            spaced
            and self.glued(at + 2)
            and self.glued(at + 3)
            and all(len(part) <= 3 and part.isdecimal() for part in parts)
            and int(parts[1]) < int(parts[2])
        )

    def _call(self, at: int) -> _Read | None:
        """`P(A and B)`, `C(4,2)`: one letter directly before a short bracket."""
        close = self.partners.get(at + 1) if self.glued(at + 1) else None
        if close is None or self.ends[close] - self.starts[at + 1] > _MAX_CALL or close == at + 2:
            return None
        inside = self.text[self.ends[at + 1] : self.starts[close]]
        return _Read(close + 1, True) if "\n" not in inside and "." not in inside.rstrip(".") else None

    def _word(self, at: int, depth: int, *, after: bool) -> _Read | None:
        word = self.token(at)
        if word in _FUNCTIONS:
            if self._type(at + 1) == "A" and self.glued(at + 1):
                group = self._group(at + 1, depth)
                return _Read(group.stop, True) if group else None
            if self._type(at + 1) in {"N", "V"} and self.near(at + 1):
                return _Read(at + 2, True)
        if word.lower() in PROSE or word in _WORD_OPERATORS or "-" in word or "'" in word:
            return None
        if after:
            spelled = self.token(at - 1) in {"/", "-", "–"} and self.glued(at)
            return None if spelled and len(word) > 3 else _Read(at + 1, False)
        operator = self.operator(at + 1)
        if operator is None or (self.token(at + 1) in {"/", "-", "–"} and (self.glued(at + 1) or len(word) > 3)):
            return None
        return _Read(at + 1, False)

    def _fenced(self, at: int, depth: int) -> _Read | None:
        """`|x - 3|` and `**27**`: a formula between two equal marks."""
        mark = self.token(at)
        if mark not in {"|", "**"} or at in self.failed or depth >= _MAX_DEPTH or not self.glued(at + 1):
            return None
        inner = self._relation(at + 1, depth + 1, _LONGEST_FENCED)
        if inner is None or self.token(inner.stop) != mark or not self.glued(inner.stop):
            self.failed.add(at)
            return None
        return _Read(inner.stop + 1, True)

    def _group(self, at: int, depth: int) -> _Read | None:
        """A bracket that contains nothing but formulas: `(a + b)`, `[0, 5)`, `{1, 2, 3}`."""
        close = self.partners.get(at)
        if close is None or at in self.failed or depth >= _MAX_DEPTH:
            return None
        position, compound = at + 1, False
        while position < close and self.near(position):
            item = self._relation(position, depth + 1)
            if item is None or item.stop > close:
                break
            compound = compound or item.compound
            position = item.stop
            if position == close and self.near(close):
                return _Read(close + 1, compound)
            if self.token(position) not in {",", ";", ":"} or not self.near(position):
                break
            compound = True
            position += 1
        self.failed.add(at)
        return None

    def _suffixes(self, read: _Read, depth: int) -> _Read:
        """Adds the suffixes that follow without a space: `2x`, `3(4)`, `x²`, `5!`, `2π`."""
        stop, compound = read
        while self.glued(stop) or (self.types[stop - 1] == "L" and self.near(stop)):
            kind = self.types[stop]
            if kind == "N" and self.types[stop - 1] == "L":
                stop += 1
                continue
            if kind == "V" and self.types[stop - 1] == "L":
                call = self._call(stop)
                stop = call.stop if call else stop + 1
                continue
            if not self.glued(stop):
                break
            if kind == "S" or (kind in {"M", "L", "N"} and self.types[stop - 1] in {"M", "L", "N", "V", "Z", "P"}):
                stop += 1
            elif kind == "V" and (
                self.types[stop - 1] in {"N", "Z", "M", "L", "S", "P"}
                or (self.types[stop - 1] == "V" and self.token(stop)[1:])
            ):
                call = self._call(stop)
                stop = call.stop if call else stop + 1
            elif kind == "W" and self.types[stop - 1] == "N" and self.ends[stop] - self.starts[stop] <= 3:
                stop += 1
            elif kind == "A" and self.types[stop - 1] in {"N", "Z", "V", "S", "L", "P"}:
                group = self._group(stop, depth)
                if group is None:
                    break
                stop = group.stop
            elif self.token(stop) == "!" and self._is_factorial(stop):
                stop += 1
            else:
                break
            compound = True
        return _Read(stop, compound)

    def _is_factorial(self, at: int) -> bool:
        """False for a sign that ends a sentence: after a number, unless the formula continues or has factorials."""
        letter = self.types[at - 1] == "V" and self.token(at - 1) not in {"I", "A", "a"}
        if letter or self.types[at - 1] == "Z" or self.operator(at + 1) is not None:
            return True
        if self.glued(at + 1) and self._type(at + 1) in {"A", "V", "N", "Z"}:
            return True
        before = at - 1
        while before > max(0, at - _FACTORIAL_REACH) and self.types[before] not in {"W", "P"}:
            before -= 1
        factorial = self.token(before) == "!" and self.glued(before) and self.types[before - 1] in {"N", "V", "Z"}
        return factorial and self._type(at - 2) == "O"
