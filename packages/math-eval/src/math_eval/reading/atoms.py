r"""The grammar of operands: numbers, letters, functions, fractions, roots and arrays.

A macro's argument may stand without braces. A function without brackets takes the factors up to the next sign,
explicit multiplication or function. Sums, products and powers are left to `expression`, which extends this class.

    Expression(tokenize(r"2\frac14")).atom()      # the number 9/4
"""

from abc import ABC, abstractmethod
from fractions import Fraction

from .cursor import END, Cursor
from .macros import CASES, FLAT, MATRICES
from .token import Token
from .tree import Tree, Unread, name, number, show
from .vocabulary import MULTIPLIERS, number_of
from .words import word_set

_APPLIED = word_set("f g h F G H P Q Gamma phi psi zeta")
_MAX_PRIMES = 9
_SAME_ACCENTS = {"widehat": "hat", "widetilde": "tilde", "bar": "overline", "wideparen": "overarc"}
_ROOTS = {"cbrt": 3, "fourthroot": 4}
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc",
            "sinh": "arsinh", "cosh": "arcosh", "tanh": "artanh"}  # fmt: skip


class Atoms(Cursor, ABC):
    """Reads operands; larger forms are read by the methods that a subclass defines."""

    @abstractmethod
    def sum(self) -> Tree:
        """A sum."""

    @abstractmethod
    def product(self, *, argument: bool = False) -> Tree:
        """A product."""

    @abstractmethod
    def atom(self) -> Tree:
        """One operand without signs, powers and what follows it."""

    @abstractmethod
    def script(self) -> Tree:
        """An exponent or index."""

    @abstractmethod
    def group(self) -> Tree:
        """The content of brackets."""

    def _number(self) -> Tree:
        divides = self.is_mark("/", ahead=-1)
        token = self.take()
        value = token.value
        if self.is_mark("…") and not self.peek().gap and token.places > 0:
            self.take()
            return number(_continued(token), -1)
        if self.peek().kind == "word" and self.peek().text in ("repeating", "recurring") and token.places > 0:
            self.take()
            return number(_continued(token._replace(text=token.text + 2 * token.text[-1])), -1)
        value += self._mixed_part(token)
        while self.peek().kind == "word" and self.peek().text.lower() in MULTIPLIERS and not divides:
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
        r"""The fraction after a whole number, which is consumed: `2 1/4`, `2\frac14`, `2 and 1/4`; 0 without one."""
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
            elif order := self._order_of_derivative():
                self.at += 6
                text += "'" * order
            else:
                return text

    def _order_of_derivative(self) -> int:
        """The number of primes that `^{(n)}` means; 0 elsewhere."""
        opens = self.is_mark("^") and self.is_mark("{", ahead=1) and self.is_mark("(", ahead=2)
        closes = self.is_mark(")", ahead=4) and self.is_mark("}", ahead=5)
        order = self.peek(3)
        whole = order.kind == "number" and order.places == 0 and order.value <= _MAX_PRIMES
        return int(order.value) if opens and closes and whole else 0

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
            return name("triangle " + letters)
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
        if function in ("sqrt", *_ROOTS):
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
        accent = _SAME_ACCENTS.get(self.peek().text, self.peek().text)
        self.take()
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

    @staticmethod
    def _members(inside: Tree) -> tuple[Tree, ...]:
        return inside.parts if inside.kind in ("tuple", "list") else (inside,)

    def _environment(self) -> Tree:
        kind = self.take().text
        self._deeper()
        rows: list[list[Tree]] = [[]]
        while self.peek().kind != "end" or self.peek() == END:
            if self.peek() == END:
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
        rows = [row for row in rows if row]
        tree = _environment_tree(kind, rows) if rows else None
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
    if function in _ROOTS:
        return Tree("function", (*arguments, number(_ROOTS[function])), "sqrt")
    if function == "lg":
        return Tree("function", (*arguments, number(10)), "log")
    return Tree("function", arguments, function)


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
