r"""The grammar of quantities: numbers with units, currencies, ratios, sizes and clock times.

It extends the grammar of expressions. What units measure is left to `units`.

    Quantities(tokenize(r"6 \text{ feet } 2 \text{ inches}"))     # reads one quantity, 37/6 feet
"""

from fractions import Fraction
from itertools import pairwise

from .expression import Expression
from .token import Token
from .tree import Tree, number
from .units import CURRENCIES, Unit, find_unit, is_count
from .vocabulary import AND, CONDITIONS, EQUALS, EXCEPT, MULTIPLIERS, OR, REASONS
from .words import word_set

_POWER_WORDS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "平方": 2, "立方": 3}
_NAMED_TIMES = {"noon": (720, "pm"), "midday": (720, "pm"), "midnight": (720, "am")}
_UNIT_SYMBOLS = word_set("m s g h L l A V W J N K C F T")
_NUMBER_SETS = frozenset({"ℝ", "ℤ", "ℕ", "ℚ", "ℂ"})


class Quantities(Expression):
    """Reads quantities and what is made of them; `colon_ends` counts the brackets in which a colon is no ratio."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.colon_ends = 0

    def ratio(self) -> Tree:
        """Quantities with colons or `to` between them, a clock time, or one quantity."""
        if (clock := self._clock()) is not None:
            return clock
        parts = [self._quantity()]
        clocklike = self._is_clocklike(self.at - 1)
        while True:
            to = self.peek().kind == "word" and self.peek().text == "to" and self.peek(1).kind == "number"
            if to or (
                self.is_mark(":")
                and not self.colon_ends
                and self.at + 1 < len(self.tokens)
                and not self.is_mark("newline", ahead=1)
            ):
                self.take()
                parts.append(self._quantity())
            else:
                break
        return parts[0] if len(parts) == 1 else Tree("ratio", tuple(parts), clocklike)

    def _is_clocklike(self, at: int) -> bool:
        first, second = self.peek(at - self.at), self.peek(at + 2 - self.at)
        colon = self.is_mark(":", ahead=at + 1 - self.at) and not second.gap
        return (
            colon
            and first.kind == second.kind == "number"
            and len(second.text) == 2
            and second.value < 60
            and first.value <= 24
        )

    def _clock(self) -> Tree | None:
        if self.peek().text.lower() in _NAMED_TIMES and self.peek().kind == "word":
            return Tree("clock", (), _NAMED_TIMES[self.take().text.lower()])
        if self.peek().kind != "number":
            return None
        if self.peek(1).kind == "word" and self.peek(1).text.lower() in ("am", "pm") and self.peek().value <= 12:
            hour, half = self.take().value, self.take().text.lower()
            return Tree("clock", (), (int(hour) * 60, half))
        if not self._is_clocklike(self.at) or self.peek(3).text.lower() not in ("am", "pm"):
            return None
        minutes = int(self.peek().value) * 60 + int(self.peek(2).value)
        half = self.peek(3).text.lower()
        self.at += 4
        return Tree("clock", (), (minutes, half))

    def _quantity(self) -> Tree:
        first = self._one_quantity()
        sizes = [first]
        while first.kind in ("quantity", "number") and (self._by() or (first.kind == "quantity" and self.is_mark("×"))):
            self.take()
            sizes.append(self._one_quantity())
        if len(sizes) > 1:
            return Tree("by", tuple(sizes))
        found = [first]
        while found[-1].kind in ("quantity", "degrees") and self.peek().kind == "number":
            found.append(self._one_quantity())
        if len(found) > 1 and not all(one.kind == "quantity" for one in found):
            self.fail()
        return compound(found) or (found[0] if len(found) == 1 else Tree("list", tuple(found)))

    def _by(self) -> bool:
        token = self.peek()
        return self.peek(1).kind == "number" and (token.text == "by" or (token.kind == "letter" and token.text == "x"))

    def _one_quantity(self) -> Tree:
        sign, start = bool(self.accept("-")), self.at
        currency = self._currency()
        if currency is None:
            self.at = start - sign
            return self._with_unit(self.sum())
        sign = bool(self.accept("-")) or sign
        value = self.sum()
        value = Tree("negative", (value,)) if sign else value
        value = self._with_unit(value)
        return value if value.kind == "quantity" else Tree("quantity", (value,), (((currency, 1),), ()))

    def _currency(self) -> str | None:
        token = self.peek()
        if token.kind == "mark" and token.text in CURRENCIES:
            self.take()
            unit = find_unit(token.text)
        elif token.kind == "word" and token.text.lower() in ("rs", "usd", "eur", "gbp", "inr", "us") and (
            self.peek(1).kind == "number" or self.is_mark(".", "$", ahead=1)
        ):  # fmt: skip
            self.take()
            self.accept(".", "$")
            unit = find_unit(token.text)
        else:
            return None
        return unit.name if unit else "dollar"

    def _with_unit(self, value: Tree) -> Tree:
        if value.kind in ("phrase", "word", "set", "tuple"):
            return value
        inside = self.peek().text == "in" and self.peek(1).text == "base"
        if self.peek(inside).kind == "word" and self.peek(inside).text == "base" and value.kind == "number":
            self.at += inside
            return self._with_base(value)
        if self.peek().kind == "word" and (size := MULTIPLIERS.get(self.peek().text.lower())) is not None:
            self.take()
            value = Tree("product", (value, number(size)))
        if (split := _fraction_of_units(value)) is not None:
            return split
        factors, words = self._unit(compass=value.kind == "degrees")
        if value.kind == "quantity":
            return value if not (factors or words) else value._replace(data=(value.data[0] + factors, words))
        if not factors and not words:
            return value
        if words in (("percent",), ("percentage",), ("percents",), ("pct",)) and not factors:
            return Tree("percent", (value,))
        if value.kind == "degrees":
            if factors in ((("°C", 1),), (("°F", 1),)) and not words:
                return Tree("quantity", value.parts, (factors, ()))
            return Tree("quantity", value.parts, ((("degree", 1), *factors), words))
        words = () if all(is_count(word) for word in words) else words
        return Tree("quantity", (value,), (factors, words)) if factors or words else value

    def _unit(self, *, compass: bool) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
        """The unit at this place: known units with exponents, and other words."""
        factors: dict[str, int] = {}
        words: list[str] = []
        sign = 1
        while True:
            power = 1
            token = self.peek()
            if token.kind == "word" and token.text.lower() in _POWER_WORDS and self.peek(1).kind == "word":
                power = _POWER_WORDS[self.take().text.lower()]
                token = self.peek()
            text = self._unit_text(token, sign, began=bool(factors or words))
            if text is None:
                break
            if token.kind == "word" and not text.isascii() and text[:2] in _POWER_WORDS and len(text) > 2:
                power, text = _POWER_WORDS[text[:2]], text[2:]
            self.at += 1
            points = compass and token.kind == "letter" and text in "NSEW"
            unit = None if points else find_unit(text)
            if points:
                words.append(text)
            elif unit is None or words:
                words.append(text.lower())
                power = self._unit_power(power)
                words += [f"^{power}"] if power != 1 and not is_count(text.lower()) else []
            else:
                factors[unit.name] = factors.get(unit.name, 0) + sign * self._unit_power(power)
            sign = 1
            if self._divides_unit():
                self.at += 1
                sign = -1
        if factors.keys() & {"°C", "°F"}:
            factors.pop("degree", None)
        return tuple(sorted(factors.items())), tuple(words)

    def _with_base(self, value: Tree) -> Tree:
        """Digits with their base in words, such as `1101 base 2`."""
        self.take()
        base = self.atom()
        digits = str(int(value.data[0]))
        if base.kind != "number" or not 2 <= base.data[0] <= 36 or int(max(digits)) >= base.data[0]:
            self.fail()
        return Tree("digits", (), (digits, int(base.data[0])))

    def _divides_unit(self) -> bool:
        after = self.peek(1)
        named = after.kind in ("word", "letter", "function") and (
            after.kind == "word" or find_unit(after.text) is not None
        )
        per = self.peek().kind == "word" and self.peek().text == "per"
        return (self.is_mark("/") or per) and named

    def _is_short_time(self) -> bool:
        """Whether `h`, `m` or `s` is a unit of time between two numbers, as in `2 h 30 min`."""
        token, after = self.peek(), self.peek(1)
        timed = token.kind == "letter" and token.text in "hms" and self.peek(-1).kind == "number"
        return timed and after.kind == "number" and find_unit(self.peek(2).text) is not None

    def _unit_text(self, token: Token, sign: int, *, began: bool) -> str | None:
        text = token.text
        if token.kind == "word":
            lower = text.lower()
            spelt = lower if not text.isupper() else text
            stops = AND | OR | CONDITIONS | REASONS | EQUALS | EXCEPT | {"to", "by", "mod", "per"}
            if find_unit(text) is not None and lower not in ("as", "to"):
                return text
            if lower == "per" and self.peek(1).text.lower() == "cent":
                self.at += 1
                return "percent"
            if lower == "percent":
                return "percent"
            return None if lower in stops - {"per"} or text in _NUMBER_SETS else spelt
        if token.kind == "function":
            return text if find_unit(text) is not None and not self._begins_argument(1) else None
        if token.kind == "letter":
            return self._unit_letter(token, sign)
        if token.kind == "mark" and text in CURRENCIES:
            return text
        if token.kind == "mark" and text == "*" and began and self.peek(1).upright:
            self.at += 1
            return self.peek().text
        if token.kind == "mark" and text == "'" and not began:
            if self.is_mark("'", ahead=1):
                self.at += 1
                return "in"
            return "ft"
        return None

    def _unit_letter(self, token: Token, sign: int) -> str | None:
        """A unit of one letter: set as text, behind a division, or between two numbers."""
        text = token.text
        if self._is_short_time():
            after = find_unit(self.peek(2).text)
            return "min" if text == "m" and after is not None and after.dimension == "time" else text
        upright = token.upright and (text in _UNIT_SYMBOLS or text in "NSEW")
        divided = sign < 0 and text in _UNIT_SYMBOLS
        return text if upright or divided or text == "Omega" else None

    def _unit_power(self, power: int) -> int:
        if self.peek().kind == "word" and self.peek().text in ("squared", "cubed"):
            return 2 if self.take().text == "squared" else 3
        if not self.accept("^"):
            return power
        exponent = self.script()
        if exponent.kind == "negative" and exponent.parts[0].kind == "number":
            exponent = number(-exponent.parts[0].data[0])
        if exponent.kind != "number" or exponent.data[0].denominator != 1:
            self.fail()
        return int(exponent.data[0])


def _fraction_of_units(tree: Tree) -> Tree | None:
    r"""The quantity of `30 \frac{\text{km}}{\text{h}}`, whose unit is a fraction; None for other trees."""
    if tree.kind != "product" or tree.parts[-1].kind != "quotient":
        return None
    spelt = [
        part.data[0] if part.kind == "phrase" and len(part.data) == 1 else part.data for part in tree.parts[-1].parts
    ]
    units = [find_unit(text) if isinstance(text, str) else None for text in spelt]
    if units[0] is None or units[1] is None or tree.parts[-1].parts[0].kind != "phrase":
        return None
    rest = tree.parts[:-1]
    value = rest[0] if len(rest) == 1 else Tree("product", rest)
    return Tree("quantity", (value,), (tuple(sorted(((units[0].name, 1), (units[1].name, -1)))), ()))


def _of_arc(tree: Tree) -> Tree:
    """Minutes and seconds behind degrees are those of an arc."""
    arcs = {(("min", 1),): (("arcminute", 1),), (("s", 1),): (("arcsecond", 1),)}
    return tree._replace(data=(arcs[tree.data[0]], ())) if tree.kind == "quantity" and tree.data[0] in arcs else tree


def compound(found: list[Tree]) -> Tree | None:
    """Quantities of one dimension in falling units, such as feet and inches, as one quantity; otherwise None."""
    if found[0].kind == "quantity" and found[0].data[0] == (("degree", 1),):
        found = [found[0], *map(_of_arc, found[1:])]
    units: list[Unit] = []
    for one in found:
        if one.kind != "quantity" or one.data[1] or len(one.data[0]) != 1 or one.data[0][0][1] != 1:
            return None
        if one.parts[0].kind != "number" or one.parts[0].data[0] < 0:
            return None
        unit = find_unit(one.data[0][0][0])
        if unit is None:
            return None
        units.append(unit)
    if len(found) < 2:
        return None
    falls = all(large.size > small.size for large, small in pairwise(units))
    if len({unit.dimension for unit in units}) > 1 or not falls:
        return None
    total = sum((one.parts[0].data[0] * unit.size for one, unit in zip(found, units, strict=True)), Fraction(0))
    return Tree("quantity", (number(total / units[0].size),), found[0].data)
