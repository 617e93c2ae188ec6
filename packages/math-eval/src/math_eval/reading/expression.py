r"""The grammar of expressions: sums, products, powers, fractions, roots, functions and everything between brackets.

A macro's argument may stand without braces. A function without brackets takes the factors up to the next sign,
explicit multiplication or function. Text with two meanings, such as `1/2x`, is not read. Lists, relations, units and
words are left to `statement`, which extends this class.

>>> from .tokens import tokenize
>>> from .tree import show
>>> show(Expression(tokenize(r"\\sqrt\\frac23 + 3^\\frac12")).sum())
'sqrt(2 / 3) + 3^(1 / 2)'
"""

from fractions import Fraction
from typing import NoReturn

from .macros import CASES, FLAT, MATRICES
from .tokens import Token
from .tree import Tree, Unread, name, number, show
from .units import find_unit
from .vocabulary import MULTIPLIERS, NUMBERS, number_of
from .words import word_set

_MAX_DEPTH = 28
_END = Token("end", "")
RELATIONS = word_set("= < > <= >= != ≈ ≡ ≅ ~ ∈ ∉ ∋ ⊂ ⊆ → ↦ ⇒ ⇔ ∝ ⊥ ∥")
"""Marks between the sides of a relation."""
_APPLIED = word_set("f g h F G H P Q Gamma phi psi zeta")
_CLOSERS = {"(": (")", "]"), "[": ("]", ")", "["), "]": ("[", "]"), r"\{": (r"\}",), "{": ("}",), "⟨": ("⟩",), "<": (">",),
            "⌊": ("⌋",), "⌈": ("⌉",)}  # fmt: skip
_EXPLICIT = {"*": "*", "×": "×", "÷": "/", "/": "/"}
_UNIT_LETTERS = word_set("m s g h L l A V W J N K C F T S E")
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc",
            "sinh": "arsinh", "cosh": "arcosh", "tanh": "artanh"}  # fmt: skip


class Expression:
    """A recursive-descent reader of tokens; each method reads one form and moves on."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0

    # --- tokens ---

    def peek(self, ahead: int = 0) -> Token:
        index = self.at + ahead
        return self.tokens[index] if 0 <= index < len(self.tokens) else _END

    def take(self) -> Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def is_mark(self, *marks: str, ahead: int = 0) -> bool:
        token = self.peek(ahead)
        return token.kind == "mark" and token.text in marks

    def accept(self, *marks: str) -> str:
        """The next mark, which is consumed, if it is one of these; otherwise an empty string."""
        return self.take().text if self.is_mark(*marks) else ""

    def expect(self, *marks: str) -> str:
        mark = self.accept(*marks)
        if not mark:
            self.fail()
        return mark

    def fail(self) -> NoReturn:
        raise Unread(
            f"nothing is known of {self.peek().text!r} there" if self.at < len(self.tokens) else "it ends too early"
        )

    # --- sums and products ---

    def sum(self) -> Tree:
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
        return parts[0] if len(parts) == 1 else Tree("sum", tuple(parts))

    def _minus_word(self) -> bool:
        """Whether `negative` or `minus` stands before a number; it is consumed."""
        said = self.peek().kind == "word" and self.peek().text.lower() in ("negative", "minus")
        after = self.peek(1)
        found = said and (after.kind in ("number", "macro") or after.text == "infty" or after.text.lower() in NUMBERS)
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
        elif mark == "×" and (_is_vector(factors[-1]) or _is_vector(other)):
            factors[-1] = Tree("cross", (factors[-1], other))
        else:
            factors.append(other)
        return _EXPLICIT[mark] == "/"

    def _is_short_time(self) -> bool:
        return False

    def _is_group(self, start: int) -> bool:
        """Whether the argument since `start` is one bracketed group or fraction, so that a division cannot be part of it."""
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
                return self.bars == 0 and ahead > 0
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

    def _begins_argument(self, ahead: int) -> bool:
        """Whether a number, a letter, a fraction or a bracket stands there."""
        return self.peek(ahead).kind in ("number", "letter", "macro") or self.is_mark("(", "{", "|", ahead=ahead)

    def _holds_relation(self, at: int) -> bool:
        """Whether a relation stands between the bracket at a token and its closing one."""
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
        value = self.atom()
        while True:
            if self.is_mark("^"):
                value = self._raised(value)
            elif self.accept("!"):
                value = Tree("factorial", (value,))
            elif self.accept("°"):
                value = self._degrees(value)
            elif self.accept("%"):
                value = Tree("percent", (value,))
            elif self.is_mark("_") and value.kind == "number" and value.data[1] == 0:
                self.take()
                value = self._based(value)
            else:
                return value

    def _raised(self, base: Tree) -> Tree:
        self.take()
        if self.accept("∘", "°"):
            return self._degrees(base)
        if self.is_mark("{") and self.is_mark("∘", "°", ahead=1) and self.is_mark("}", ahead=2):
            self.at += 3
            return self._degrees(base)
        return Tree("power", (base, self.script()))

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
        digits, index = str(int(value.data[0])), self.script()
        if index.kind == "phrase":
            index = number(number_of(list(index.data)) or 0)
        if index.kind != "number" or not 2 <= index.data[0] <= 36 or int(max(digits)) >= index.data[0]:
            self.fail()
        return Tree("digits", (), (digits, int(index.data[0])))

    # --- atoms ---

    def atom(self) -> Tree:
        token = self.peek()
        if token.kind == "number":
            return self._number()
        if token.kind in ("letter", "vector"):
            return self._letter()
        if token.kind == "function":
            return self._function()
        if token.kind == "macro":
            return self._structure()
        if token.kind == "accent":
            return self._accent()
        if token.kind == "big":
            return self._big()
        if token.kind == "begin":
            return self._environment()
        if token.kind == "word":
            if token.text.lower() in NUMBERS and not token.text.isupper():
                return self._number_words()
            if token.text.isupper() and len(token.text) > 1 and token.text.isascii():
                self.take()
                return Tree("word", (), token.text + self._index() + self._primes())
        if token.kind == "mark":
            if token.text in ("|", "‖"):
                return self._absolute()
            if token.text == "…":
                self.take()
                return name("…")
            if token.text in _CLOSERS:
                return self.group()
        self.fail()

    def _number(self) -> Tree:
        token = self.take()
        value = token.value
        if self.is_mark("…") and not self.peek().gap and token.places > 0:
            self.take()
            return number(_continued(token), -1)
        value += self._mixed_part(token)
        while self.peek().kind == "word" and self.peek().text.lower() in MULTIPLIERS:
            value *= MULTIPLIERS[self.take().text.lower()]
        if self.peek().kind == "word" and (part := number_of(["one", self.peek().text])) is not None and part < 1:
            self.take()
            value *= part
        return number(value, token.places if value == token.value else 0)

    def _literal_fraction(self, after: int) -> tuple[Fraction, int] | None:
        """A proper fraction of two whole numbers that begins `after` tokens from here, and the number of its tokens."""
        begin = after + 1 if self.peek(after).text == "frac" else after
        found: list[Fraction] = []
        index = begin
        while len(found) < 2:
            braced = begin > after and self.is_mark("{", ahead=index)
            token = self.peek(index + braced)
            if token.kind != "number" or token.places != 0 or not token.text.isdigit():
                return None
            if begin > after and not braced and len(token.text) > 1:
                found += [Fraction(int(digit)) for digit in token.text]
            else:
                found.append(token.value)
            if braced and not self.is_mark("}", ahead=index + 2):
                return None
            index += 3 if braced else 1
            if begin == after and len(found) == 1:
                if not self.is_mark("/", ahead=index):
                    return None
                index += 1
        return (found[0] / found[1], index) if len(found) == 2 and 0 < found[0] < found[1] else None

    def _mixed_part(self, whole: Token) -> Fraction:
        """The fraction after a whole number, as in `2 1/4`, `2\\frac14` and `2 and 1/4`, which is consumed; 0 without one."""
        joined = self.peek().kind == "word" and self.peek().text == "and"
        after = self.peek(1) if joined else self.peek()
        if whole.places != 0 or not (joined or after.gap or after.text == "frac"):
            return Fraction(0)
        found = self._literal_fraction(1 if joined else 0) or (self._part_in_words() if joined else None)
        if found is None:
            return Fraction(0)
        self.at += found[1]
        return found[0]

    def _part_in_words(self) -> tuple[Fraction, int] | None:
        """`and a half` after a whole number: the part, and the number of its tokens."""
        found = number_of([self.peek(1).text, self.peek(2).text])
        return (found, 3) if found is not None and 0 < found < 1 else None

    def _number_words(self) -> Tree:
        start, words, best, end = self.at, list[str](), None, self.at
        while self.peek().kind in ("word", "letter") or (self.is_mark("-") and not self.peek().gap):
            token = self.take()
            if token.kind == "letter" and token.text != "a":
                break
            if token.kind != "mark":
                words.append(token.text)
                if (value := number_of(words)) is not None:
                    best, end = value, self.at
            if len(words) > 12:
                break
        self.at = end
        if best is None or end == start:
            self.at = start
            self.fail()
        return number(best or 0)

    def _letter(self) -> Tree:
        token = self.take()
        text = ("vec " if token.kind == "vector" else "") + token.text
        if token.text in ("angle", "triangle"):
            return self._angle(token.text)
        if token.text in ("i", "e", "pi", "infty") and token.kind == "letter" and not self.is_mark("_"):
            return name(token.text)
        text += self._index()
        text += self._primes()
        if self._is_applied(token.text, text):
            if self.is_mark("^"):
                self.take()
                text += f"^{_flat(self.script())}"
            return Tree("apply", self._members(self.group()), text)
        if text == "C" and self.is_mark("(") and self.is_mark(",", ahead=2) and self.is_mark(")", ahead=4):
            return Tree("function", self._members(self.group()), "binom")
        return name(text)

    def _index(self) -> str:
        if not self.is_mark("_"):
            return ""
        self.take()
        return "_" + _flat(self.script())

    def _primes(self) -> str:
        text = ""
        while True:
            if self.accept("'"):
                text += "'"
            elif self.is_mark("^") and (
                self.is_mark("'", ahead=1) or (self.is_mark("{") and self.is_mark("'", ahead=2))
            ):
                self.take()
            elif self.is_mark("^") and self.is_mark("{", ahead=1) and self.is_mark("'", ahead=2):
                self.at += 2
                while self.accept("'"):
                    text += "'"
                self.expect("}")
            else:
                return text

    def _is_applied(self, letter: str, text: str) -> bool:
        if letter in _APPLIED or text.endswith("'"):
            if self.is_mark("("):
                return True
            return self.is_mark("^") and self._script_is_inverse()
        single = self.is_mark("(") and self.is_mark(")", ahead=2) and self.peek(1).kind in ("letter", "number")
        return single and self.is_mark("=", ahead=3)

    def _script_is_inverse(self) -> bool:
        if self.is_mark("{", ahead=1) and self.is_mark("-", ahead=2) and self.is_mark("}", ahead=4):
            return self.is_mark("(", ahead=5)
        return self.is_mark("-", ahead=1) and self.is_mark("(", ahead=3)

    def _angle(self, kind: str) -> Tree:
        if (self.peek().kind == "word" and self.peek().text.isupper()) or self.peek().kind == "number":
            letters = self.take().text
        else:
            letters = ""
            while self.peek().kind == "letter" and len(letters) < 3:
                letters += self.take().text
        if not letters:
            self.fail()
        if kind == "triangle":
            return name("triangle " + "".join(sorted(letters)))
        return name("angle " + min(letters, letters[::-1]))

    def _function(self) -> Tree:
        token = self.take()
        function, base, power = token.text, None, None
        while self.is_mark("_", "^"):
            if self.take().text == "_":
                base = self.script()
            else:
                power = self.script()
        arguments = self._arguments(function)
        if power == number(-1):
            if function not in _INVERSE:
                self.fail()
            function, power = _INVERSE[function], None
        if base is not None:
            if function != "log":
                self.fail()
            arguments = (*arguments, base)
        value = _named(function, arguments)
        return value if power is None else Tree("power", (value, power))

    def _arguments(self, function: str) -> tuple[Tree, ...]:
        if self.is_mark("(", "{", "["):
            return self._members(self.group())
        if self.is_mark("-"):
            self.take()
            return (Tree("negative", (self.product(argument=True),)),)
        if function in ("sqrt", "cbrt"):
            return (self.atom(),)
        return (self.product(argument=True),)

    def _structure(self) -> Tree:
        token = self.take()
        if token.text == "frac":
            top = self._argument()
            return Tree("quotient", (top, self._argument()))
        if token.text == "binom":
            top = self._argument()
            return Tree("function", (top, self._argument()), "binom")
        if token.text == "sqrt":
            degree = None
            if self.is_mark("["):
                degree = self.group()
            inside = self.group() if self.is_mark("(") else self._argument()
            return Tree("function", (inside,) if degree is None else (inside, degree), "sqrt")
        self.fail()

    def _argument(self) -> Tree:
        """The argument of a macro: a group, one digit, one letter, or another macro with its arguments."""
        token = self.peek()
        if token.kind == "number" and len(token.text) > 1 and token.text.isdigit():
            self.tokens[self.at] = token._replace(text=token.text[1:], value=Fraction(token.text[1:]), gap=False)
            return number(int(token.text[0]))
        if token.kind == "number":
            self.take()
            return number(token.value, token.places)
        if token.kind in ("letter", "vector"):
            self.take()
            return name(("vec " if token.kind == "vector" else "") + token.text)
        if token.kind == "macro" or (token.kind == "mark" and token.text in ("{", "(")):
            return self.atom()
        if token.kind == "word" and token.text.isupper():
            return self.atom()
        self.fail()

    def _accent(self) -> Tree:
        accent = self.take().text
        if accent in ("overset", "underset", "stackrel"):
            self.fail()
        inside = self._argument()
        text = _flat(inside)
        if inside.kind == "word" or inside.kind == "name":
            text = min(text, text[::-1]) if accent == "overline" and text.isupper() and inside.kind == "word" else text
            return name(f"{accent} {text}{self._index()}{self._primes()}")
        return Tree("function", (inside,), accent)

    def _big(self) -> Tree:
        operator, parts = self.take().text, list[Tree]()
        while self.is_mark("_", "^"):
            mark = self.take().text
            parts.append(Tree("function", (self.script(),), "below" if mark == "_" else "above"))
        return Tree("big", (*parts, self.product()), operator)

    def _absolute(self) -> Tree:
        mark = self.take().text
        self.bars += 1
        self._deeper()
        inside = self.sum()
        self.depth -= 1
        self.bars -= 1
        self.expect(mark)
        return Tree("function", (inside,), "abs" if mark == "|" else "norm")

    # --- brackets ---

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Unread(f"brackets are nested more than {_MAX_DEPTH} deep")

    def group(self) -> Tree:
        """What stands between brackets; `statement` reads lists, sets and intervals there."""
        opening = self.take().text
        self._deeper()
        inside = self.sum()
        self.depth -= 1
        self.expect(*_CLOSERS[opening])
        return inside

    @staticmethod
    def _members(inside: Tree) -> tuple[Tree, ...]:
        return inside.parts if inside.kind in ("tuple", "list") else (inside,)

    def _environment(self) -> Tree:
        kind = self.take().text
        self._deeper()
        rows: list[list[Tree]] = [[]]
        while self.peek().kind != "end" or self.peek() == _END:
            if self.peek() == _END:
                self.fail()
            if self.accept("&"):
                if kind in MATRICES and (not rows[-1]):
                    self.fail()
            elif self.accept("row"):
                if rows[-1]:
                    rows.append([])
            elif self.accept(",", ";", "newline", ".", "quad"):
                pass
            else:
                rows[-1].append(self.cell())
        if self.take().text != kind:
            self.fail()
        self.depth -= 1
        tree = _environment_tree(kind, [row for row in rows if row])
        if tree is None:
            self.fail()
        return tree

    def cell(self) -> Tree:
        """One cell of a matrix."""
        return self.sum()


def _environment_tree(kind: str, rows: list[list[Tree]]) -> Tree | None:
    if kind in MATRICES:
        if len({len(row) for row in rows}) != 1:
            return None
        matrix = Tree("matrix", tuple(Tree("row", tuple(row)) for row in rows))
        return Tree("function", (matrix,), "det") if kind.lower() == "vmatrix" and kind[0] in "vV" else matrix
    if kind in CASES and any(len(row) > 1 for row in rows):
        return Tree("cases", tuple(Tree("row", tuple(row)) for row in rows))
    if kind in FLAT or kind in CASES:
        flat = tuple(one for row in rows for one in row)
        return flat[0] if len(flat) == 1 else Tree("list", flat)
    return None


def _named(function: str, arguments: tuple[Tree, ...]) -> Tree:
    if function == "exp":
        return Tree("power", (name("e"), *arguments)) if len(arguments) == 1 else Tree("function", arguments, "exp")
    if function == "cbrt":
        return Tree("function", (*arguments, number(3)), "sqrt")
    if function == "lg":
        return Tree("function", (*arguments, number(10)), "log")
    return Tree("function", arguments, function)


def _is_factor_word(token: Token) -> bool:
    return token.text.lower() in NUMBERS or (token.text.isupper() and token.text.isascii())


def _is_vector(tree: Tree) -> bool:
    text = tree.data if tree.kind == "name" else ""
    return text.startswith(("vec ", "overrightarrow ")) or tree.kind == "cross"


def _flat(tree: Tree) -> str:
    """The text of an index."""
    return show(tree).replace(" ", "")


def _continued(token: Token) -> Fraction:
    """The value of decimals that go on as they began, such as `0.444…` and `0.1666…`; a period must stand twice."""
    whole, _, decimals = token.text.partition(".")
    for period in range(1, len(decimals) // 2 + 1):
        again, times = decimals[-period:], 3 if period == 1 else 2
        if len(decimals) >= times * period and decimals.endswith(again * times):
            once = decimals
            while once.endswith(again):
                once = once[:-period]
            added = Fraction(int(again), 10 ** len(once) * (10**period - 1))
            return Fraction(f"{whole or 0}.{once}0") + added
    raise Unread(f"the decimals of {token.text}… do not show how they go on")
