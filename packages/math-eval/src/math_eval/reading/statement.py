r"""The grammar of answers: lists, tuples, sets, intervals, relations, quantities with units, options, and words.

It extends the grammar of expressions. Words that belong to no form are a phrase, which is read, too; anything else that
is left over makes the answer unread.

>>> from .tokens import tokenize
>>> from .tree import show
>>> show(Statement(tokenize(r"\{(1, 2], 6 \text{ feet}\}")).answer())
'{(1, 2], 6 ft}'
>>> show(Statement(tokenize("The area is 1 1/2 acres")).answer())
'"the area" = 3/2 acre'
"""

from .cursor import RELATIONS
from .macros import CASES, MATRICES
from .quantity import compound
from .token import Token
from .tree import Tree, Unread, name, names
from .units import is_count
from .vocabulary import AND, BARE_REASONS, COMPARATIVES, CONDITIONS, EQUALS, OR
from .wording import Wording, lower

_SEPARATORS = (",", ";", "newline", "row", "quad")
_NUMBER_SETS = frozenset({"ℝ", "ℤ", "ℕ", "ℚ", "ℂ"})


class Statement(Wording):
    """Reads a whole answer; see the module."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self._angle_depth = 0

    def answer(self) -> Tree:
        """The tree of all tokens.

        Raises:
            Unread: A token has no place in it.
        """
        tree = self._option() or self.listed(self.items())
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
            joined = self.separator()
            joiners = {token.text.lower() for token in self.tokens[start : self.at] if token.kind == "word"}
            if joiners & (OR | AND):
                found[-1] = Tree("joined", (found[-1],), "or" if joiners & OR else "∧" if "∧" in joiners else "and")
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
                return [self._given(self.listed(found))]
            found.append(self.statement())

    def _at_close(self) -> bool:
        token = self.peek()
        return self.at >= len(self.tokens) or token.kind == "end" or (
            token.kind == "mark" and token.text in (")", "]", "}", r"\}", "⟩", "|", "&", ":", "right.")
        )  # fmt: skip

    def separator(self) -> bool:
        """Whether separators stand here, which are consumed."""
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
        """Whether the next words are `or more`, `and above` or the like."""
        return self.peek(1).kind == "word" and self.peek(1).text.lower() in COMPARATIVES

    def listed(self, found: list[Tree]) -> Tree:
        """Statements as one tree: a value with its condition, a compound quantity, or a list."""
        joiner = next((one.data for one in found if one.kind == "joined"), None)
        found = _unjoined(found)
        if len(found) == 1:
            return found[0]
        if joiner == "and":
            joiner = "∧" if all(map(_is_bound, found)) else None
        if found[-1].kind == "mod":
            found = _residues(found)
        if found[-1].kind == "relation" and found[-1].data == ("∈",) and found[-1].parts[1].kind == "name":
            *rest, domain = found
            if domain.parts[0].kind == "name" and not all(
                one.kind == "relation" and one.data == ("∈",) for one in rest
            ):
                return Tree("given", (self.listed(rest), domain))
        if _is_bound(found[-1]) and joiner is None and not any(map(_is_bound, found[:-1])):
            subjects, letters = names(found[-1]), set().union(*map(names, found[:-1]))
            if subjects & letters and found[0].kind != "relation":
                return Tree("given", (self.listed(found[:-1]), found[-1]))
        return compound(found) or Tree("list", tuple(found), joiner)

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
        """One cell of an array or system; the condition of a case may begin with `if`."""
        if self._is_condition():
            self.take()
        return self.statement()

    def _tail(self, value: Tree) -> Tree:
        while True:
            if self._is_condition():
                value = self._given(value)
            elif self.peek().kind == "word" and self.peek().text.lower() in AND | OR and self._is_comparative():
                value = Tree("given", (value, Tree("phrase", (), lower([self.take().text, self.take().text]))))
            elif self.is_mark("(") and (remark := self._bracketed_words()) is not None:
                value = remark(value)
            elif self.is_mark("(") and self._holds_relation(self.at):
                value = Tree("given", (value, self.group()))
            elif self.peek().kind == "word" and self.peek().text.lower() in BARE_REASONS:
                value = Tree("remark", (value, self._rest()))
            else:
                return value

    def _is_condition(self) -> bool:
        token = self.peek()
        if token.kind == "letter" and token.text == "forall":
            return True
        return token.kind == "word" and token.text.lower() in CONDITIONS and self.at + 1 < len(self.tokens)

    def _given(self, value: Tree) -> Tree:
        """The value with its condition, which is a list of relations or words."""
        negated = self.peek().text.lower() == "unless"
        while self._is_condition() or (
            self.peek().kind == "word" and self.peek().text.lower() in ("all", "any", "every", "some", "each", "that")
        ):  # fmt: skip
            self.at += 1
        start = self.at
        try:
            condition = self.listed(self.items())
            if not self._at_close():
                self.fail()
        except Unread:
            self.at = start
            condition = self._rest()
        return Tree("given", (value, Tree("negative", (condition,)) if negated else condition))

    def _bracketed_words(self):
        """A remark in brackets after a value, as what it makes of the value; None if mathematics is in the brackets."""
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
        phrase = Tree("phrase", (), lower(words))
        if words[:-1] in (["base"], ["in", "base"]):
            based = Statement(inside[-2:])
            return lambda value: based._with_base(value) if value.kind == "number" else based.fail()
        units = Statement(inside)
        factors, others = units._unit(compass=False)
        if factors and not others and units.at == len(inside):
            return lambda value: Tree("quantity", (value,), (factors, ()))
        if len(words) == 1 and is_count(words[0]):
            return lambda value: value
        if words[0].lower() in CONDITIONS:
            condition = Statement(inside)._given(phrase).parts[1]
            return lambda value: Tree("given", (value, condition))
        return lambda value: Tree("remark", (value, phrase))

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
        value = self.ratio()
        while self.peek().kind == "mark" and self.peek().text in kinds:
            mark = self.take().text
            found = [value, self.ratio()]
            while kinds[mark] != "difference" and self.accept(mark):
                found.append(self.ratio())
            value = Tree(kinds[mark], tuple(found))
        if value.kind in ("difference", "quotient") and _is_without(value):
            value = Tree("difference", (name("ℝ"), *value.parts[1:]))
        if value == name("ℝ") and (excluded := self.exceptions()):
            return Tree("difference", (value, Tree("set", excluded)))
        if value.kind == "sum" and value.parts[0].kind == "name" and value.parts[0].data in _NUMBER_SETS:
            rest = value.parts[1:]
            if all(part.kind == "negative" and part.parts[0].kind == "set" for part in rest):
                return Tree("difference", (value.parts[0], *(part.parts[0] for part in rest)))
        return value

    # --- brackets ---

    def group(self) -> Tree:
        """The content of brackets: a value, tuple, interval, set, or rounding to a whole number."""
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
        self.colon_ends += 1
        found = self.items()
        self.colon_ends -= 1
        found = _unjoined(found)
        if opening == r"\{" and self.accept("right."):
            self.bars = bars
            return self.listed([cell for one in found for cell in _cells(one)])
        if self.accept("|", ":"):
            condition = self.listed(self.items())
            self.expect(closing)
            self.bars = bars
            return Tree("builder", (self.listed(found), condition))
        self.bars = bars
        self.expect(closing)
        if opening == "{" and len(found) == 1:
            return found[0]
        return Tree("set", tuple(found), None if opening == r"\{" else "plain")

    def _tuple(self, opening: str) -> Tree:
        closing = {"⟨": ("⟩",), "<": (">",), "(": (")", "]", "["), "[": ("]", ")", "["), "]": ("[", "]")}[opening]
        bars, self.bars = self.bars, 0
        ends, self.colon_ends = self.colon_ends, 0
        self._angle_depth += opening == "<"
        found = _unjoined(self.items())
        bar = self.accept("|")
        if bar:
            found = [
                Tree("builder", (Tree("list", tuple(found)) if len(found) > 1 else found[0], self.listed(self.items())))
            ]
        self._angle_depth -= opening == "<"
        self.bars, self.colon_ends = bars, ends
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
        self.colon_ends += inside in MATRICES | CASES
        tree = super()._environment()
        self.colon_ends -= inside in MATRICES | CASES
        return tree


def _unjoined(found: list[Tree]) -> list[Tree]:
    """The statements without their marks of the joiner that follows them."""
    return [one.parts[0] if one.kind == "joined" else one for one in found]


def _residues(found: list[Tree]) -> list[Tree]:
    """Each of `x ≡ 1, 2 mod 4` with its letter and modulus; other statements as they are."""
    first, last = found[0], found[-1]
    if first.kind != "relation" or first.data != ("≡",) or any(one.kind == "relation" for one in found[1:]):
        return found
    if last.parts[0].kind == "relation":
        return found
    values = [first.parts[1], *found[1:-1], last.parts[0]]
    return [Tree("mod", (first._replace(parts=(first.parts[0], one)), last.parts[1])) for one in values]


def _is_without(tree: Tree) -> bool:
    """Whether the tree is the real numbers without some, written as a difference or with a slash."""
    reals = tree.parts[0].data in ("R", "vec R", "ℝ")
    return reals and (tree.kind == "difference" or tree.parts[1].kind == "set")


def _cells(tree: Tree) -> list[Tree]:
    """The statements of an array with one column, which a single brace joins to a system."""
    if tree.kind == "matrix" and len(tree.parts[0].parts) == 1:
        return [cell for row in tree.parts for cell in row.parts]
    return [tree]


def _is_bound(tree: Tree) -> bool:
    return tree.kind == "relation" and set(tree.data) <= {"<", ">", "<=", ">=", "!="}
