r"""Vectors and matrices: multiples, sums and products written out, and sums of unit vectors as tuples.

>>> from math_eval.reading import read
>>> from math_eval.reading.tree import show
>>> show(array_of(read(r"4\mathbf{i} - \mathbf{k}").tree))
'(4 * 1, 0, -1)'
"""

from fractions import Fraction

from math_eval.reading.tree import Tree, name, number, walk

_MAX_SIDE = 8
_MAX_POWER = 3
_AXES = ("vec i", "vec j", "vec k")


def is_array(tree: Tree) -> bool:
    """Whether the tree is an array that is computed: a sum of unit vectors, or an expression with matrices."""
    if tree.kind in ("sum", "product", "negative", "quotient", "power"):
        return _is_vector_sum(tree) or any(part.kind == "matrix" for part in walk(tree))
    return _is_vector_sum(tree)


def array_of(tree: Tree) -> Tree:
    """A matrix or tuple instead of an expression that gives one; `[[1, 2], [3, 4]]` is a matrix, too."""
    if (
        (
            tree.kind == "tuple"
            and tree.data == "[]"
            and all(part.kind == "tuple" and part.data == "[]" for part in tree.parts)
        )
        and tree.parts
        and len({len(part.parts) for part in tree.parts}) == 1
    ):
        return Tree("matrix", tuple(Tree("row", part.parts) for part in tree.parts))
    if _is_vector_sum(tree):
        return _components(tree)
    if is_array(tree):
        return _matrix(tree) or tree
    return tree


def _matrix(tree: Tree) -> Tree | None:
    """The matrix that an expression gives, with expressions as cells; None if it gives none."""
    kind, parts = tree.kind, tree.parts
    if kind == "matrix":
        return tree
    if kind == "negative":
        return _scaled(_matrix(parts[0]), (number(-1),))
    if kind == "sum":
        found = [_matrix(part) for part in parts]
        shapes = {(len(one.parts), len(one.parts[0].parts)) if one else None for one in found}
        if len(shapes) > 1 or None in shapes:
            return None
        rows = [row for one in found if one for row in [[cell for row in one.parts for cell in row.parts]]]
        width = len(found[0].parts[0].parts) if found[0] else 1
        cells = [Tree("sum", together) for together in zip(*rows, strict=True)]
        return Tree("matrix", tuple(Tree("row", tuple(cells[at : at + width])) for at in range(0, len(cells), width)))
    if kind == "power" and parts[1] in (name("T"), name("top")):
        inside = _matrix(parts[0])
        return inside and Tree("matrix", tuple(Tree("row", column) for column in zip(*_cells(inside), strict=True)))
    if kind == "power" and parts[1].kind == "number":
        return _power(_matrix(parts[0]), parts[1].data[0])
    if kind == "quotient":
        return _scaled(_matrix(parts[0]), (Tree("quotient", (number(1), parts[1])),))
    if kind == "product":
        total, scale = None, list[Tree]()
        for part in parts:
            one = _matrix(part)
            if one is None:
                scale.append(part)
            else:
                total = one if total is None else _product(total, one)
                if total is None:
                    return None
        return _scaled(total, tuple(scale))
    return None


def _power(matrix: Tree | None, exponent: Fraction) -> Tree | None:
    """A small power of a square matrix, or the inverse of one with two rows."""
    if matrix is None or len(matrix.parts) != len(matrix.parts[0].parts):
        return None
    if exponent == -1 and len(matrix.parts) == 2:
        (a, b), (c, d) = _cells(matrix)
        minus_b, minus_c = Tree("negative", (b,)), Tree("negative", (c,))
        determinant = Tree("sum", (Tree("product", (a, d)), Tree("product", (minus_b, c))))
        adjoint = Tree("matrix", (Tree("row", (d, minus_b)), Tree("row", (minus_c, a))))
        return _scaled(adjoint, (Tree("quotient", (number(1), determinant)),))
    if exponent.denominator != 1 or not 1 <= exponent <= _MAX_POWER:
        return None
    total: Tree | None = matrix
    for _ in range(int(exponent) - 1):
        total = total and _product(total, matrix)
    return total


def _cells(matrix: Tree) -> list[tuple[Tree, ...]]:
    return [row.parts for row in matrix.parts]


def _scaled(matrix: Tree | None, scale: tuple[Tree, ...]) -> Tree | None:
    if matrix is None or not scale:
        return matrix
    rows = (tuple(Tree("product", (*scale, cell)) for cell in row.parts) for row in matrix.parts)
    return Tree("matrix", tuple(Tree("row", row) for row in rows))


def _product(one: Tree, two: Tree) -> Tree | None:
    inner = len(two.parts)
    if len(one.parts[0].parts) != inner or max(len(one.parts), inner, len(two.parts[0].parts)) > _MAX_SIDE:
        return None
    columns = list(zip(*_cells(two), strict=True))
    rows = (
        tuple(
            Tree("sum", tuple(Tree("product", pair) for pair in zip(row.parts, column, strict=True)))
            for column in columns
        )
        for row in one.parts
    )
    return Tree("matrix", tuple(Tree("row", row) for row in rows))


def _is_vector_sum(tree: Tree) -> bool:
    parts = tree.parts if tree.kind == "sum" else (tree,)
    return all(sum(part.data in _AXES for part in walk(one) if part.kind == "name") == 1 for one in parts)


def _components(tree: Tree) -> Tree:
    found: dict[str, Tree] = {}
    for term in tree.parts if tree.kind == "sum" else (tree,):
        axis = next(part.data for part in walk(term) if part.kind == "name" and part.data in _AXES)
        found[axis] = _with_one(term, axis)
    axes = _AXES if "vec k" in found else _AXES[:2]
    return Tree("tuple", tuple(found.get(axis, number(0)) for axis in axes), "()")


def _with_one(tree: Tree, axis: str) -> Tree:
    if tree == name(axis):
        return number(1)
    return tree._replace(parts=tuple(_with_one(part, axis) for part in tree.parts))
