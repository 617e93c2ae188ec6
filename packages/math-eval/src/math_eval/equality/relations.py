r"""Equations, inequalities, assignments, functions, congruences and values under a condition.

An equation equals its right side only if its left is a bare name, such as `x`, `f(x)`, `AB` or words. A letter that is
bound by a function, a sequence, a set or an integer condition may have any name.

>>> from math_eval.reading import read
>>> label, value = named(read("f(x) = x^2").tree)
>>> label, show(value)
('f(x)', 'x^2')
>>> named(read("4x = 20").tree) is None
True
"""

from collections.abc import Callable, Sequence

from math_eval.reading.tree import Tree, name, names, replace, show
from math_eval.reading.vocabulary import ARTICLES

from .algebra import numerator, quotient
from .policy import Policy
from .polynomial import proportional
from .regions import Region, letter_of, region

Same = Callable[[Tree, Tree], bool | None]

_CONSTANTS = frozenset({"pi", "e", "i", "infty", "ℝ", "ℤ", "ℕ", "ℚ", "ℂ", "emptyset", "…"})
_MIRRORED = {">": "<", ">=": "<=", "∋": "∈"}


def named(tree: Tree) -> tuple[str, Tree] | None:
    """The name and the value of an assignment such as `x = 5` or `x ∈ [1, 2]`, or None."""
    if tree.kind != "relation" or len(tree.parts) != 2 or tree.data not in (("=",), ("∈",), ("≈",)):
        return None
    left, right = tree.parts[0], tree.parts[1]
    return (label(left), right) if _is_bare(left) else None


def label(tree: Tree) -> str:
    """The text of a bare name; that of words is in quotation marks and without articles."""
    if tree.kind == "phrase":
        return f'"{" ".join(word for word in tree.data if word not in ARTICLES)}"'
    return show(tree).replace("vec ", "")


def _labels_agree(one: str, two: str) -> bool:
    """Whether two names may be of the same thing: equal ones, words and a symbol, or words that contain the others."""
    if one == two or one.startswith('"') != two.startswith('"'):
        return True
    words, others = ({*text.strip('"').split()} for text in (one, two))
    return one.startswith('"') and (words <= others or others <= words)


def _is_bare(tree: Tree) -> bool:
    if tree.kind in ("name", "word", "apply", "phrase"):
        return tree.data not in _CONSTANTS
    if tree.kind == "function" and tree.data in ("abs", "norm", "overline", "det"):
        return tree.parts[0].kind in ("word", "name")
    if tree.kind == "product" and len(tree.parts) == 2:
        return tree.parts[0] == name("m") and str(tree.parts[1].data).startswith("angle ")
    if tree.kind == "quotient" and all(map(_is_differential, tree.parts)):
        return True
    if tree.kind in ("ratio", "quotient"):  # of lengths and areas, such as `AB/CD`
        return all(part.kind == "word" or (tree.kind == "ratio" and part.kind == "name") for part in tree.parts)
    return tree.kind == "tuple" and all(part.kind == "word" for part in tree.parts) and len(tree.parts) == 1


def _is_differential(tree: Tree) -> bool:
    return tree.kind == "product" and len(tree.parts) == 2 and tree.parts[0] == name("d")


def expand(tree: Tree) -> list[Tree]:
    r"""The statements in a list, with `\pm` and `(x, y) = (1, 2)` written out."""
    if tree.kind in ("list", "set"):
        return _grouped([one for part in _pairs(tree.parts) for one in expand(part)])
    if tree.kind == "relation" and set(tree.data) == {"="}:
        *bare, value = tree.parts
        if len(bare) > 1 and all(map(_is_bare, bare)):
            return [Tree("relation", (left, value), ("=",)) for left in bare]
        if len(bare) == 1 and (found := _spread(bare[0], value)):
            return found
    if _has_signs(tree):
        return [_signed(tree, False), _signed(tree, True)]
    return [tree]


def _spread(left: Tree, value: Tree) -> list[Tree]:
    """The assignments of `(x, y) = (1, 2)` and of `x = 1, 2`; none for other equations."""
    tuples = left.kind == value.kind == "tuple" and len(left.parts) == len(value.parts)
    if tuples and all(map(_is_bare, left.parts)):
        return [Tree("relation", pair, ("=",)) for pair in zip(left.parts, value.parts, strict=True)]
    if value.kind == "list" and _is_bare(left):
        return [Tree("relation", (left, one), ("=",)) for one in expand(value)]
    return []


def _pairs(parts: tuple[Tree, ...]) -> tuple[Tree, ...]:
    """The parts, those of `(x, y) = (1, 2), (3, 4)` as tuples."""
    first = parts[0]
    named_tuple = first.kind == "relation" and first.data == ("=",) and {part.kind for part in first.parts} == {"tuple"}
    if named_tuple and len(parts) > 1 and all(part.kind == "tuple" for part in parts[1:]):
        return (first.parts[1], *parts[1:])
    return parts


def _grouped(found: list[Tree]) -> list[Tree]:
    """The statements, those of `p = 5, q = 2, p = 7, q = 2` as one tuple for each round of the names."""
    pairs = [named(one) if one.data == ("=",) else None for one in found]
    labels = [pair[0] if pair else "" for pair in pairs]
    period = labels.index(labels[0], 1) if labels[0] and labels[0] in labels[1:] else 0
    if period < 2 or len(labels) % period or labels != labels[:period] * (len(labels) // period):
        return found
    order = sorted(range(period), key=labels.__getitem__)
    values = [pair[1] for pair in pairs if pair]
    return [Tree("tuple", tuple(values[start + at] for at in order), "()") for start in range(0, len(values), period)]


def _has_signs(tree: Tree) -> bool:
    return tree.kind in ("plusminus", "minusplus") or any(map(_has_signs, tree.parts))


def _signed(tree: Tree, minus: bool) -> Tree:
    if tree.kind in ("plusminus", "minusplus"):
        inside = _signed(tree.parts[0], minus)
        return Tree("negative", (inside,)) if minus == (tree.kind == "plusminus") else inside
    return tree._replace(parts=tuple(_signed(part, minus) for part in tree.parts))


def assignments(found: Sequence[Tree]) -> dict[str, Tree] | None:
    """Name -> value, if every statement assigns a value to a name of its own; otherwise None."""
    pairs = [named(one) if one.data == ("=",) else None for one in found]
    if len(found) < 2 or None in pairs:
        return None
    table = {pair[0]: pair[1] for pair in pairs if pair is not None}
    return table if len(table) == len(pairs) else None


def same_named(one: tuple[str, Tree], two: tuple[str, Tree], same: Same, policy: Policy) -> bool | None:
    """Whether two assignments are equal; bound letters may differ, other names not."""
    (left, value), (right, other) = one, two
    if not _labels_agree(left, right):
        renamed = _rename_bound(left, right, value)
        if renamed is None:
            return False
        value = renamed
    verdict = same(value, other)
    if verdict is False and policy.any_constant:
        return _same_but_constant(value, other, same)
    return verdict


def _rename_bound(left: str, right: str, value: Tree) -> Tree | None:
    """The value of `f(t)` in the letter of `f(x)`, or of `a_k` in that of `a_n`; None for different names."""
    for opening, closing in (("(", ")"), ("_", "")):
        head, mark, bound = left.partition(opening)
        other_head, other_mark, other_bound = right.partition(opening)
        letters, others = (text.removesuffix(closing).split(", ") for text in (bound, other_bound))
        distinct = len({*letters}) == len(letters) == len(others) == len({*others})
        if mark and other_mark and head == other_head and distinct and all(map(is_letter, letters + others)):
            if (names(value) - {*letters}) & {*others}:
                return None
            for index, letter in enumerate(letters):  # two steps, since letters may change places
                value = replace(value, letter, f"bound {index}")
            for index, letter in enumerate(others):
                value = replace(value, f"bound {index}", letter)
            return value
    return None


def is_letter(text: str) -> bool:
    """Whether the text is one letter."""
    return len(text) == 1 and text.isalpha()


def same_free(value: Tree, label_text: str, other: Tree, same: Same) -> bool | None:
    """Whether `f(t) = value` has the values of an expression in another single letter."""
    bound = label_text.partition("(")[2].removesuffix(")") or label_text.partition("_")[2]
    letters = names(other) - _CONSTANTS
    if is_letter(bound) and len(letters) == 1 and bound not in letters and names(value) - _CONSTANTS == {bound}:
        return same(replace(value, bound, letters.pop()), other)
    return same(value, other)


def _same_but_constant(one: Tree, two: Tree, same: Same) -> bool | None:
    left, right = names(one) - names(two) - _CONSTANTS, names(two) - names(one) - _CONSTANTS
    if len(left) == len(right) == 1:
        return same(replace(one, left.pop(), (new := right.pop())), replace(two, new, new))
    return False


def same_relation(one: Tree, two: Tree, same: Same, policy: Policy) -> bool | None:
    """Whether two relations say the same."""
    left, right = named(one), named(two)
    if left and right and one.data[0] == two.data[0]:
        verdict = same_named(left, right, same, policy)
        if verdict is not False:
            return verdict
    if one.data == two.data == ("=",):
        return _same_equation(one, two, same, policy)
    letter = letter_of(one)
    if letter and letter == letter_of(two) and policy.equivalent_forms:
        here, there = region(one, letter), region(two, letter)
        if here is not None and there is not None:
            return same_region(here, there, same)
    return _same_chain(one, two, same)


def same_region(one: Region, two: Region, same: Same) -> bool | None:
    """Whether two sets of real numbers in normal form are equal."""
    if len(one) != len(two):
        return False
    verdicts = []
    for left, right in zip(one, two, strict=True):
        if (left.low.closed, left.high.closed) != (right.low.closed, right.high.closed):
            return False
        verdicts += [left.low.tree == right.low.tree or same(left.low.tree, right.low.tree)]
        verdicts += [left.high.tree == right.high.tree or same(left.high.tree, right.high.tree)]
    return False if False in verdicts else None if None in verdicts else True


def _same_equation(one: Tree, two: Tree, same: Same, policy: Policy) -> bool | None:
    sides = [same(*pair) for pair in zip(one.parts, two.parts, strict=True)]
    crossed = [same(one.parts[0], two.parts[1]), same(one.parts[1], two.parts[0])]
    if all(side is True for side in sides) or all(side is True for side in crossed):
        return True
    if not policy.equivalent_forms:
        return False
    first, second = numerator(*one.parts), numerator(*two.parts)
    if first is None or second is None:
        return None
    return proportional(first, second) if first and second else False


def _same_chain(one: Tree, two: Tree, same: Same) -> bool | None:
    """Whether two chains have equal sides in order, however they are turned."""
    (parts, operators), (others, its) = _ascending(one), _ascending(two)
    if operators != its or len(parts) != len(others):
        return False
    verdicts = [same(*pair) for pair in zip(parts, others, strict=True)]
    if all(verdict is True for verdict in verdicts):
        return True
    if (
        len(operators) == 1
        and operators[0] in ("<", "<=", "!=")
        and (scaled := _scaled(parts, others, operators[0])) is not None
    ):
        return scaled
    if len(operators) == 1 and operators[0] in ("!=", "⊥", "∥", "≅", "~"):
        return all(same(*pair) is True for pair in zip(parts, reversed(others), strict=True))
    return False


def _ascending(tree: Tree) -> tuple[tuple[Tree, ...], tuple[str, ...]]:
    if all(operator in _MIRRORED for operator in tree.data):
        return tree.parts[::-1], tuple(_MIRRORED[operator] for operator in reversed(tree.data))
    return tree.parts, tree.data


def _scaled(parts: tuple[Tree, ...], others: tuple[Tree, ...], operator: str) -> bool | None:
    """Whether two inequalities of polynomials are multiples of each other by a positive number."""
    first, second = (
        quotient(Tree("sum", (parts[1], Tree("negative", (parts[0],))))),
        quotient(Tree("sum", (others[1], Tree("negative", (others[0],))))),
    )
    if first is None or second is None or first.bottom.keys() != {()} or second.bottom.keys() != {()}:
        return None
    if not first.top or not second.top or not proportional(first.top, second.top):
        return None
    monomial = next(iter(first.top))
    ratio = (second.top[monomial] / second.bottom[()]) / (first.top[monomial] / first.bottom[()])
    return ratio > 0 or operator == "!="


def same_congruence(one: Tree, two: Tree, same: Same) -> bool | None:
    """Whether two residues are equal: the same letter and modulus, and remainders that differ by a multiple of it."""
    (left, modulus), (right, other) = one.parts, two.parts
    if same(modulus, other) is not True:
        return False
    if left.kind != right.kind:
        return False
    if left.kind == "relation":
        if left.data != right.data or same(left.parts[0], right.parts[0]) is not True:
            return False
        left, right = left.parts[1], right.parts[1]
    if same(left, right) is True:
        return True
    values = [quotient(tree) for tree in (left, right, modulus)]
    numbers = [value.rational() if value is not None else None for value in values]
    if None in numbers or not numbers[2]:
        return False
    return ((numbers[0] or 0) - (numbers[1] or 0)) % numbers[2] == 0
