"""An answer without what changes nothing: reasons, free constants, chains that compute, second forms of a value.

Whether two such trees are equal is left to `compare`.

>>> from math_eval.reading import read
>>> from math_eval.reading.tree import show
>>> show(plain(read("4! = 24").tree, lambda one, two: True))
'24'
"""

from math_eval.reading.tree import Tree, walk
from math_eval.reading.words import word_set

from .conditions import is_free
from .regions import whole_numbers
from .relations import Same, expand, named
from .wording import changes_nothing

VALUES = word_set(
    "number name word sum negative product quotient power function apply factorial degrees percent big cross"
)
"""Kinds of trees that have a value."""


def plain(tree: Tree, same: Same) -> Tree:
    """The tree without what changes nothing: a reason, a free constant, a chain that only computes."""
    while True:
        if (tree.kind == "remark" and changes_nothing(tree.parts[1].data or ("",))) or (
            tree.kind == "given" and is_free(tree.parts[1], tree.parts[0])
        ):
            tree = tree.parts[0]
        elif tree.kind == "relation" and tree.data == ("=",) and _is_turned(tree):
            tree = tree._replace(parts=tree.parts[::-1])
        elif tree.kind == "builder" and (members := whole_numbers(tree)) is not None:
            tree = members
        elif tree.kind == "product" and _is_point(tree):
            return _equation(*tree.parts)
        elif tree.kind == "relation" and tree.parts[0].kind == "phrase" and tree.parts[-1].kind == "relation":
            tree = tree.parts[-1]
        elif tree.kind == "relation" and len(tree.parts) > 1 and set(tree.data) <= {"=", "≈"}:
            end = _computed(tree, same)
            if end is tree:
                return tree
            tree = end
        else:
            return tree


def _computed(tree: Tree, same: Same) -> Tree:
    """The end of a chain such as `12/8 = 3/2` or `√3 ≈ 1.732`, if its sides are constants and it is right."""
    if "≈" in tree.data:
        cut = tree.data.index("≈")
        if cut > 0:
            return Tree("relation", tree.parts[: cut + 1], tree.data[:cut])
        first = _equation(*tree.parts[:2])
        return first if named(first) else tree.parts[0]
    *_, before, tail = tree.parts
    ends = _equation(tree.parts[0], tail)
    if len(tree.parts) > 2 and named(ends) and len(expand(tree)) == 1:
        return ends
    computes = before.kind in VALUES | {"quantity"} and not named(_equation(before, tail))
    if (computes or (_is_constant(before) and _is_constant(tail))) and same(before, tail) is True:
        return ends if named(ends) else tail
    return tree


def one_value(tree: Tree, other: Tree, same: Same) -> Tree:
    """The value of `AB = CD = 3`, or of one value in two forms such as `3/4 or 0.75`, where one value is asked for."""
    if other.kind not in VALUES:
        return tree
    if tree.kind == "list" and tree.data == "or" and all(map(_is_constant, tree.parts)):
        first = tree.parts[0]
        return first if all(first != one and same(first, one) is True for one in tree.parts[1:]) else tree
    if tree.kind == "relation" and set(tree.data) == {"="} and len(tree.parts) > 2 and _is_constant(tree.parts[-1]):
        value = tree.parts[-1]
        return value if all(named(_equation(one, value)) for one in tree.parts[:-1]) else tree
    return tree


def _equation(left: Tree, right: Tree) -> Tree:
    return Tree("relation", (left, right), ("=",))


def _is_turned(tree: Tree) -> bool:
    """Whether the tree is an assignment that is written backwards, such as `7 = x`."""
    return (
        _is_constant(tree.parts[0])
        and tree.parts[-1].kind != "phrase"
        and named(tree._replace(parts=tree.parts[::-1])) is not None
    )


def _is_point(tree: Tree) -> bool:
    """Whether the tree is a capital letter with coordinates, such as `D(0, 3)`."""
    point, place = tree.parts[0], tree.parts[-1]
    return len(tree.parts) == 2 and place.kind == "tuple" and point.kind == "name" and point.data.isupper()


def _is_constant(tree: Tree) -> bool:
    return tree.kind in VALUES | {"quantity"} and not any(
        part.kind in ("apply", "word", "phrase") or (part.kind == "name" and part.data not in ("pi", "e", "i"))
        for part in walk(tree)
    )
