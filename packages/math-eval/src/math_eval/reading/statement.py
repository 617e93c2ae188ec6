r"""The grammar of answers: lists, tuples, sets, intervals, relations, quantities with units, options, and words.

It extends the grammar of expressions. Words that belong to no form are a phrase, which is read, too; anything else that
is left over makes the answer unread.

>>> from .tokens import tokenize
>>> from .tree import show
>>> show(Statement(tokenize(r"\{(1, 2], 6 \text{ feet}\}")).answer())
'{(1, 2], 6 ft}'
>>> show(Statement(tokenize("The total is 1 1/2 hours")).answer())
'"the total" = 3/2 h'
"""

from fractions import Fraction

from .expression import RELATIONS, Expression
from .macros import CASES, MATRICES
from .tokens import Token
from .tree import Tree, Unread, name, names, number
from .units import CURRENCIES, find_unit, is_count
from .vocabulary import AND, ARTICLES, COMPARATIVES, CONDITIONS, EQUALS, HEDGES, NUMBERS, OR, REASONS, meaning
from .words import word_set

RELATIONS = word_set("= < > <= >= != ≈ ≡ ≅ ~ ∈ ∉ ∋ ⊂ ⊆ → ↦ ⇒ ⇔ ∝ ⊥ ∥")
_SEPARATORS = (",", ";", "newline", "row", "quad")
_SETS = {"real numbers": "ℝ", "integers": "ℤ"}
_NUMBER_SETS = frozenset({"ℝ", "ℤ", "ℕ", "ℚ", "ℂ"})
_OPTIONS = frozenset("ABCDEFGHIJ")
_POWER_WORDS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "平方": 2, "立方": 3}
_UNIT_SYMBOLS = word_set("m s g h L l A V W J N K C F T")
_MAX_LABEL = 12
_EXCEPT = frozenset({"except", "excluding", "besides", "without"})


class Statement(Expression):
    """Reads a whole answer; see the module."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self._colon_ends = 0
        self._angle_depth = 0

    def answer(self) -> Tree:
        """The tree of all tokens.

        Raises:
            Unread: A token has no place in it.
        """
        tree = self._option() or self._listed(self.items())
        while self.accept(".", "!", ",", ";", ":", "newline", "row", "quad", "?"):
            pass
        if self.at < len(self.tokens):
            self.fail()
        return tree

    def items(self) -> list[Tree]:
        """Statements between separators, up to a closing bracket or the end."""
        found = [self.statement()]
        while True:
            start = self.at
            joined = self._separator()
            if any(token.kind == "word" and token.text.lower() in OR for token in self.tokens[start : self.at]):
                found[-1] = Tree("either", (found[-1],))
            if not joined or self._at_close():
                return found
            if self.peek().kind == "word" and self._begins_reason():
                found[-1] = Tree("remark", (found[-1], self._rest()))
                return found
            if self.is_mark("(") and (remark := self._bracketed_words()) is not None:
                found[-1] = remark(found[-1])
                if self._at_close():
                    return found
                continue
            if self._is_condition():
                return [self._given(self._listed(found))]
            found.append(self.statement())

    def _at_close(self) -> bool:
        token = self.peek()
        return self.at >= len(self.tokens) or token.kind == "end" or (
            token.kind == "mark" and token.text in (")", "]", "}", r"\}", "⟩", "|", "&", ":", "right.")
        )  # fmt: skip

    def _separator(self) -> bool:
        found = False
        while True:
            token = self.peek()
            if (token.kind == "mark" and token.text in _SEPARATORS) or (
                token.kind == "mark" and token.text == "." and (self.peek(1).gap or self.is_mark("newline", ahead=1))
            ):
                found = True
            elif not (token.kind == "word" and token.text.lower() in AND | OR) or self._is_comparative():
                return found
            found = True
            self.at += 1

    def _is_comparative(self) -> bool:
        """Whether `or more`, `and above` or the like stands here."""
        return self.peek(1).kind == "word" and self.peek(1).text.lower() in COMPARATIVES

    def _listed(self, found: list[Tree]) -> Tree:
        either = any(one.kind == "either" for one in found)
        found = [one.parts[0] if one.kind == "either" else one for one in found]
        if len(found) == 1:
            return found[0]
        if found[-1].kind == "relation" and found[-1].data == ("∈",) and found[-1].parts[1].kind == "name":
            *rest, domain = found
            if domain.parts[0].kind == "name" and not all(
                one.kind == "relation" and one.data == ("∈",) for one in rest
            ):
                return Tree("given", (self._listed(rest), domain))
        if _is_bound(found[-1]) and not either and not any(map(_is_bound, found[:-1])):
            subjects, letters = names(found[-1]), set().union(*map(names, found[:-1]))
            if subjects & letters and found[0].kind != "relation":
                return Tree("given", (self._listed(found[:-1]), found[-1]))
        return _compound(found) or Tree("list", tuple(found), "or" if either else None)

    # --- statements ---

    def statement(self) -> Tree:
        """A relation or value with its condition and remark; words that are none of these are a phrase."""
        start = self.at
        self._skip_hedges()
        try:
            value = self._labelled() or self._phrase_of_numbers() or self.relation()
            return self._tail(value)
        except Unread:
            self.at = start
            phrase = self._phrase()
            if phrase is None:
                raise
            return self._tail(phrase)

    def cell(self) -> Tree:
        return self.statement()

    def _skip_hedges(self) -> None:
        while True:
            token = self.peek()
            hedge = token.kind == "word" and token.text.lower() in HEDGES and not token.text.isupper()
            after_hedge = self.at == 0 or (token.text == ":" and self.peek(-1).text.lower() in HEDGES)
            if hedge or (token.kind == "mark" and token.text in ("≈", "~", ":") and after_hedge):
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
            self.peek(index).kind == "word" or (self.peek(index).kind == "letter" and index > 0)
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
            by_word or self.is_mark("=", ahead=index) or (self.is_mark(":", ahead=index) and not self._colon_ends)
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
        return Tree("relation", (Tree("phrase", (), _lower(words)), value), ("=",))

    def _phrase_of_numbers(self) -> Tree | None:
        """The real numbers or the integers in words, perhaps with exceptions."""
        index = 0
        while index < _MAX_LABEL and self.peek(index).kind in ("word", "letter"):
            if self.peek(index).text.lower() in _EXCEPT | CONDITIONS:
                break
            index += 1
        words = tuple(token.text for token in self.tokens[self.at : self.at + index])
        symbol = _SETS.get(meaning(words))
        if symbol is None:
            return None
        self.at += index
        if self.peek().kind == "word" and self.peek().text.lower() in _EXCEPT:
            self.take()
            if self.peek().kind == "word" and self.peek().text.lower() == "for":
                self.take()
            excluded = [self.relation()]
            while self._separator():
                excluded.append(self.relation())
            excluded = [one.parts[1] if one.kind == "relation" and one.data == ("=",) else one for one in excluded]
            return Tree("difference", (name(symbol), Tree("set", tuple(excluded))))
        return name(symbol)

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
            Tree("phrase", (), _lower(words))
            if any(len(word) > 1 and not word[0].isdigit() for word in words)
            else None
        )

    def _tail(self, value: Tree) -> Tree:
        while True:
            if self._is_condition():
                value = self._given(value)
            elif self.peek().kind == "word" and self.peek().text.lower() in AND | OR and self._is_comparative():
                value = Tree("given", (value, Tree("phrase", (), _lower([self.take().text, self.take().text]))))
            elif self.is_mark("(") and (remark := self._bracketed_words()) is not None:
                value = remark(value)
            elif self.is_mark("(") and self._holds_relation(self.at):
                value = Tree("given", (value, self.group()))
            elif self.peek().kind == "word" and self._begins_reason():
                value = Tree("remark", (value, self._rest()))
            else:
                return value

    def _is_condition(self) -> bool:
        token = self.peek()
        if token.kind == "letter" and token.text == "forall":
            return True
        return token.kind == "word" and token.text.lower() in CONDITIONS and not self.peek(1) == self.peek(10**9)

    def _given(self, value: Tree) -> Tree:
        """The value with its condition, which is a list of relations or words."""
        while self._is_condition() or (
            self.peek().kind == "word" and self.peek().text.lower() in ("all", "any", "every", "some", "each", "that")
        ):  # fmt: skip
            self.at += 1
        start = self.at
        try:
            condition = self._listed(self.items())
            if not self._at_close():
                self.fail()
        except Unread:
            self.at = start
            condition = self._rest()
        return Tree("given", (value, condition))

    def _begins_reason(self) -> bool:
        word = self.peek().text.lower()
        return word in REASONS

    def _bracketed_words(self):
        """A remark in brackets after a value, as what it makes of the value; None if the brackets contain mathematics."""
        end, depth = self.at, 0
        while end < len(self.tokens):
            token = self.tokens[end]
            depth += (token.kind == "mark" and token.text == "(") - (token.kind == "mark" and token.text == ")")
            end += 1
            if depth == 0:
                break
        inside = self.tokens[self.at + 1 : end - 1]
        if depth or not inside or inside[0].kind != "word":
            return None
        words = [token.text for token in inside]
        if words[0].lower() == "mod":
            return None
        self.at = end
        phrase = Tree("phrase", (), _lower(words))
        if len(words) == 1 and (unit := find_unit(words[0])) is not None:
            return lambda value: Tree("quantity", (value,), (((unit.name, 1),), ()))
        if len(words) == 1 and is_count(words[0]):
            return lambda value: value
        if words[0].lower() in CONDITIONS:
            condition = Statement(inside)._given(phrase).parts[1]
            return lambda value: Tree("given", (value, condition))
        return lambda value: Tree("remark", (value, phrase))

    def _rest(self) -> Tree:
        """The remaining tokens as a phrase."""
        words = [token.text for token in self.tokens[self.at :]]
        if any(token.kind == "unknown" for token in self.tokens[self.at :]):
            self.fail()
        self.at = len(self.tokens)
        return Tree("phrase", (), _lower(words))

    # --- relations and sets ---

    def relation(self) -> Tree:
        """A chain of relations between sets or values, perhaps with a modulus."""
        sides, operators = [self._sets()], list[str]()
        while True:
            token = self.peek()
            if token.kind == "mark" and token.text in RELATIONS and not (token.text == ">" and self._angle_depth):
                operators.append(self.take().text)
            elif token.kind == "word" and token.text.lower() in EQUALS and self.at + 1 < len(self.tokens):
                self.take()
                operators.append("=")
                self._skip_hedges()
            elif token.text == "in" and token.kind == "word" and self.is_mark("[", "(", ahead=1):
                self.take()
                operators.append("∈")
            else:
                break
            if operators[-1] == "=" and self.peek().kind == "word" and (phrase := self._value_words()) is not None:
                sides.append(phrase)
            else:
                sides.append(self._sets())
        tree = Tree("relation", tuple(sides), tuple(operators)) if operators else sides[0]
        return self._modulus(tree)

    def _value_words(self) -> Tree | None:
        if self.peek().text.lower() in NUMBERS | HEDGES or self.peek().text.isupper():
            return None
        return self._phrase()

    def _modulus(self, tree: Tree) -> Tree:
        bracketed = self.is_mark("(") and self.peek(1).kind == "word" and self.peek(1).text == "mod"
        if bracketed:
            self.take()
        if not (self.peek().kind == "word" and self.peek().text == "mod"):
            return tree
        self.take()
        modulus = self.product()
        if bracketed:
            self.expect(")")
        return Tree("mod", (tree, modulus))

    def _sets(self) -> Tree:
        kinds = {"∪": "union", "∩": "intersection", "∖": "difference"}
        value = self._ratio()
        while self.peek().kind == "mark" and self.peek().text in kinds:
            mark = self.take().text
            found = [value, self._ratio()]
            while kinds[mark] != "difference" and self.accept(mark):
                found.append(self._ratio())
            value = Tree(kinds[mark], tuple(found))
        if value.kind == "difference" and value.parts[0] == name("R"):
            value = value._replace(parts=(name("ℝ"), *value.parts[1:]))
        if value.kind == "sum" and value.parts[0].kind == "name" and value.parts[0].data in _NUMBER_SETS:
            rest = value.parts[1:]
            if all(part.kind == "negative" and part.parts[0].kind == "set" for part in rest):
                return Tree("difference", (value.parts[0], *(part.parts[0] for part in rest)))
        return value

    def _ratio(self) -> Tree:
        if (clock := self._clock()) is not None:
            return clock
        parts = [self._quantity()]
        clocklike = self._is_clocklike(self.at - 1)
        while True:
            to = self.peek().kind == "word" and self.peek().text == "to" and self.peek(1).kind == "number"
            if to or (
                self.is_mark(":")
                and not self._colon_ends
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

    # --- quantities ---

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
        return _compound(found) or (found[0] if len(found) == 1 else Tree("list", tuple(found)))

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
            stops = AND | OR | CONDITIONS | frozenset(REASONS) | EQUALS | {"to", "by", "mod", "per"}
            if find_unit(text) is not None and lower not in ("as", "to"):
                return text
            if lower == "per" and self.peek(1).text.lower() == "cent":
                self.at += 1
                return "percent"
            if lower == "percent":
                return "percent"
            return None if lower in stops - {"per"} or text in (*_NUMBER_SETS,) else spelt
        if token.kind == "function":
            return text if find_unit(text) is not None and not self._begins_argument(1) else None
        if token.kind == "letter":
            if self._is_short_time():
                return "min" if text == "m" else text
            if (token.upright and (text in _UNIT_SYMBOLS or text in "NSEW")) or text == "Omega":
                return text
            return text if sign < 0 and text in _UNIT_SYMBOLS else None
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

    # --- brackets ---

    def group(self) -> Tree:
        opening = self.take().text
        self._deeper()
        if opening in ("⌊", "⌈"):
            inside = Tree("function", (self.sum(),), "floor" if opening == "⌊" else "ceil")
            self.expect("⌋" if opening == "⌊" else "⌉")
        elif opening in (r"\{", "{"):
            inside = self._set(opening)
        else:
            inside = self._tuple(opening)
        self.depth -= 1
        return inside

    def _set(self, opening: str) -> Tree:
        closing = r"\}" if opening == r"\{" else "}"
        if self.accept(closing):
            if opening == "{":
                self.fail()
            return name("emptyset")
        bars, self.bars = self.bars, 0
        self._colon_ends += 1
        found = self.items()
        self._colon_ends -= 1
        found = [one.parts[0] if one.kind == "either" else one for one in found]
        if opening == r"\{" and self.accept("right."):
            self.bars = bars
            return self._listed([cell for one in found for cell in _cells(one)])
        if self.accept("|", ":"):
            condition = self._listed(self.items())
            self.expect(closing)
            self.bars = bars
            return Tree("builder", (self._listed(found), condition))
        self.bars = bars
        self.expect(closing)
        if opening == "{" and len(found) == 1:
            return found[0]
        return Tree("set", tuple(found), None if opening == r"\{" else "plain")

    def _tuple(self, opening: str) -> Tree:
        closing = {"⟨": ("⟩",), "<": (">",), "(": (")", "]", "["), "[": ("]", ")", "["), "]": ("[", "]")}[opening]
        bars, self.bars = self.bars, 0
        ends, self._colon_ends = self._colon_ends, 0
        self._angle_depth += opening == "<"
        found = [one.parts[0] if one.kind == "either" else one for one in self.items()]
        bar = self.accept("|")
        if bar:
            found = [
                Tree(
                    "builder", (Tree("list", tuple(found)) if len(found) > 1 else found[0], self._listed(self.items()))
                )
            ]
        self._angle_depth -= opening == "<"
        self.bars, self._colon_ends = bars, ends
        closed = self.expect(*closing)
        if opening in "[]" or closed in "[]":
            opening, closed = ("(" if opening == "]" else opening), (")" if closed == "[" else closed)
        if opening in ("⟨", "<"):
            opening, closed = "(", ")"
        if len(found) == 1 and (bar or opening + closed in ("()", "[]")) and found[0].kind not in ("tuple",):
            return found[0]
        if len(found) == 1 and opening + closed == "()":
            return found[0]
        if len(found) == 1 and opening + closed != "[]":
            self.fail()
        return Tree("tuple", tuple(found), opening + closed)

    def _environment(self) -> Tree:
        inside = self.peek().text
        self._colon_ends += inside in MATRICES | CASES
        tree = super()._environment()
        self._colon_ends -= inside in MATRICES | CASES
        return tree

    # --- options ---

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
            self.at += braced
            rest = self.peek()
            ended = self.at >= len(self.tokens) or (self.is_mark(".") and self.at + 1 == len(self.tokens))
            if ended and (named or mark in (")", "", ".")) and bracket == (mark == ")"):
                if named or token.upright or bracket or mark:
                    return Tree("option", (), token.text)
            elif (
                (mark or named)
                and not ended
                and (rest.gap or rest.kind == "word" or token.upright)
                and (rest.kind != "mark" or rest.text in ("(", "$", "-", r"\{"))
            ):
                return Tree("option", (self._content(),), token.text)
        self.at = start
        return None

    def _content(self) -> Tree:
        start = self.at
        try:
            tree = self._listed(self.items())
            while self.accept(".", ","):
                pass
            if self.at == len(self.tokens):
                return tree
        except Unread:
            pass
        self.at = start
        return self._rest()


def _cells(tree: Tree) -> list[Tree]:
    """The statements of an array with one column, which a single brace joins to a system."""
    if tree.kind == "matrix" and len(tree.parts[0].parts) == 1:
        return [cell for row in tree.parts for cell in row.parts]
    return [tree]


def _is_bound(tree: Tree) -> bool:
    return tree.kind == "relation" and set(tree.data) <= {"<", ">", "<=", ">=", "!="}


def _lower(words: list[str]) -> tuple[str, ...]:
    return tuple(word.lower() if len(word) > 1 else word for word in words)


def _compound(found: list[Tree]) -> Tree | None:
    """Quantities of one dimension in falling units, such as feet and inches, as one quantity; otherwise None."""
    units = []
    for one in found:
        if one.kind != "quantity" or one.data[1] or len(one.data[0]) != 1 or one.data[0][0][1] != 1:
            return None
        if one.parts[0].kind != "number" or one.parts[0].data[0] < 0:
            return None
        units.append(find_unit(one.data[0][0][0]))
    if len(found) < 2:
        return None
    sizes = [unit.size if unit and unit.dimension == units[0].dimension else None for unit in units]
    if None in sizes or any(not one > two for one, two in zip(sizes, sizes[1:], strict=False)):
        return None
    total = sum((one.parts[0].data[0] * size for one, size in zip(found, sizes, strict=True)), Fraction(0))
    return Tree("quantity", (number(total / sizes[0]),), found[0].data)
