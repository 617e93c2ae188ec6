r"""Values under a condition, families of solutions with an integer letter, and conditions that change nothing.

A letter that an integer condition binds may have any name. Relations are left to `relations`.

>>> from math_eval.reading import read
>>> is_free(read(r"k \in \mathbb{R}").tree, read("f(x) = kx").tree)
True
"""

from fractions import Fraction

from math_eval.reading.tree import Tree, name, names, replace, show
from math_eval.reading.words import word_set

from .algebra import quotient
from .polynomial import OutOfReach, Quotient, multiply, proportional
from .relations import Same, is_letter, named

_FREE_WORDS = word_set("constant constants arbitrary real reals number numbers any parameter parameters c k")
_FILLER = word_set("is are an a the any some all each every for number numbers value values where of")


def same_given(one: Tree, two: Tree, same: Same) -> bool | None:
    """Whether two values under a condition are equal, conditions included."""
    (value, condition), (other, its) = one.parts, two.parts
    left, right = _integers(condition), _integers(its)
    if left and right:
        return _same_solutions(value, left, other, right, same)
    if left or right:
        return False
    condition, its = _in_words(condition), _in_words(its)
    if condition.kind == its.kind == "phrase":
        equal_words = _bare_words(condition) == _bare_words(its)
        return same(value, other) if equal_words else False
    if same(condition, its) is not True:
        return False
    return same(value, other)


def _in_words(condition: Tree) -> Tree:
    """`n is odd` as the words `n odd`; other conditions as they are."""
    if condition.kind == "relation" and condition.data == ("=",) and condition.parts[-1].kind == "phrase":
        return Tree("phrase", (), (*show(condition.parts[0]).split(), *condition.parts[-1].data))
    if condition.kind == "quantity" and not condition.data[0]:
        return Tree("phrase", (), (*show(condition.parts[0]).split(), *condition.data[1]))
    return condition


def _bare_words(phrase: Tree) -> list[str]:
    return [word for word in phrase.data if word not in _FILLER]


def _integers(condition: Tree) -> list[str]:
    """The letters that a condition calls integers."""
    if condition.kind == "relation" and len(condition.parts) == 2:
        left, right = condition.parts
        letters = [part.data for part in (left.parts if left.kind == "list" else (left,)) if part.kind == "name"]
        if condition.data == ("∈",) and right == name("ℤ"):
            return letters
        if condition.data == ("=",) and right.kind == "phrase" and {"integer", "integers"} & set(right.data):
            return letters if set(right.data) <= _FILLER | {"integer", "integers"} else []
    if condition.kind == "phrase" and {"integer", "integers"} & set(condition.data):
        rest = [word for word in condition.data if word not in _FILLER | {"integer", "integers"}]
        return rest if rest and all(map(is_letter, rest)) else []
    return []


def is_free(condition: Tree, value: Tree) -> bool:
    """Whether a condition changes nothing: it only declares a letter to be any real number or constant."""
    if condition.kind == "relation" and len(condition.parts) == 2:
        left, right = condition.parts
        if condition.data == ("∈",) and right in (name("ℝ"), name("ℂ")):
            return left.kind == "name"
        if condition.data == ("=",) and right.kind == "phrase" and left.kind == "name":
            return set(right.data) <= _FREE_WORDS | _FILLER
    if condition.kind == "phrase":
        letters = names(value)
        return all(word in _FREE_WORDS | _FILLER or word in letters for word in condition.data)
    if condition.kind == "list":
        return all(is_free(part, value) for part in condition.parts)
    return condition.kind == "name" and condition.data in names(value)


def _same_solutions(value: Tree, left: list[str], other: Tree, right: list[str], same: Same) -> bool | None:
    """Whether two families are equal; the integer letters may have any name, and one of them may be shifted."""
    if len(left) != len(right):
        return False
    for index, (old, new) in enumerate(zip(left, right, strict=True)):
        value, other = replace(value, old, f"n_{index}"), replace(other, new, f"n_{index}")
    verdict = same(value, other)
    if verdict is True or len(left) > 1:
        return verdict
    family, other_family = (_linear(one.parts[1] if named(one) else one) for one in (value, other))
    if family is None or other_family is None:
        return verdict
    (start, step), (its_start, its_step) = family, other_family
    try:
        difference = _ratio(start.plus(its_start, -1), its_step)
        ratio = _ratio(step, its_step)
    except OutOfReach:
        return verdict
    same_name = (named(value) or ("",))[0] == (named(other) or ("",))[0]
    return same_name and difference is not None and difference.denominator == 1 and ratio in (1, -1)


def _linear(tree: Tree):
    """Start and step of `start + n * step`, as quotients; None for other expressions."""
    start, one, two = (quotient(_at(tree, number)) for number in (0, 1, 2))
    if start is None or one is None or two is None:
        return None
    try:
        step = one.plus(start, -1)
        return (start, step) if not two.plus(one, -1).plus(step, -1).top and step.top else None
    except OutOfReach:
        return None


def _ratio(one: Quotient, two: Quotient) -> Fraction | None:
    """How many times the second quotient the first one is, if that is a number."""
    top, bottom = multiply(one.top, two.bottom), multiply(one.bottom, two.top)
    if not top:
        return Fraction(0)
    first = next(iter(top))
    return top[first] / bottom[first] if proportional(top, bottom) else None


def _at(tree: Tree, value: int) -> Tree:
    if tree == name("n_0"):
        return Tree("number", (), (Fraction(value), 0))
    return tree._replace(parts=tuple(_at(part, value) for part in tree.parts))
