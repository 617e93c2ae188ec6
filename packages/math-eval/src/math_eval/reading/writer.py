r"""The LaTeX of a tree, in one spelling that every parser of LaTeX reads alike; what has none is refused.

>>> from . import read
>>> print(latex(read("3/4 sin(2x)").tree))
\frac{3}{4} \cdot \sin\left(2 \cdot x\right)
"""

from .tree import Tree, name
from .words import word_set

_FUNCTIONS = word_set("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln exp min max gcd det arg dim")
_GREEK = word_set(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega pi infty"
)
_TIGHT = frozenset({"number", "name", "function", "word", "apply"})


class Unwritable(ValueError):
    """A part of the tree has no LaTeX here."""


def latex(tree: Tree) -> str:  # noqa: C901 - one return for each kind
    """The LaTeX of an expression.

    Raises:
        Unwritable: It contains something else than numbers, letters, functions, sums, integrals and limits.
    """
    kind, parts = tree.kind, tree.parts
    if kind == "number":
        value, places = tree.data
        if places > 0:
            whole, rest = divmod(abs(value.numerator) * 10**places // value.denominator, 10**places)
            return f"{'-' if value < 0 else ''}{whole}.{rest:0{places}}"
        return str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    if kind == "name":
        return _name(tree.data)
    if kind == "sum":
        return "".join(latex(part) if not index or part.kind == "negative" else f"+{latex(part)}"
                       for index, part in enumerate(parts)).replace("+-", "-")  # fmt: skip
    if kind == "negative":
        return f"-{_factor(parts[0])}"
    if kind == "product":
        return r" \cdot ".join(map(_factor, parts))
    if kind == "quotient":
        return rf"\frac{{{latex(parts[0])}}}{{{latex(parts[1])}}}"
    if kind == "power":
        base = (
            latex(parts[0]) if parts[0].kind == "name" or _is_digits(parts[0]) else rf"\left({latex(parts[0])}\right)"
        )
        return f"{base}^{{{latex(parts[1])}}}"
    if kind == "factorial":
        return f"{latex(parts[0])}!" if parts[0].kind in ("number", "name") else rf"\left({latex(parts[0])}\right)!"
    if kind == "degrees":
        return rf"\frac{{{latex(parts[0])} \pi}}{{180}}"
    if kind == "percent":
        return rf"\frac{{{latex(parts[0])}}}{{100}}"
    if kind == "function":
        return _function(tree)
    if kind == "big":
        return _big(tree)
    raise Unwritable(kind)


def _is_digits(tree: Tree) -> bool:
    return tree.kind == "number" and tree.data[0] >= 0 and tree.data[0].denominator == 1


def _factor(tree: Tree) -> str:
    text = latex(tree)
    loose = tree.kind in ("sum", "negative", "big", "product") or text.startswith("-")
    return rf"\left({text}\right)" if loose else text


def _name(text: str) -> str:
    letter, mark, index = text.removeprefix("vec ").partition("_")
    if not (letter in _GREEK or (len(letter) == 1 and letter.isascii())) or not (index.isalnum() or not mark):
        raise Unwritable(text)
    letter = f"\\{letter} " if letter in _GREEK else letter
    return f"{letter.strip()}_{{{index}}}" if mark else letter


def _function(tree: Tree) -> str:
    parts = [latex(part) for part in tree.parts]
    if tree.data == "sqrt":
        return rf"\sqrt[{parts[1]}]{{{parts[0]}}}" if len(parts) > 1 else rf"\sqrt{{{parts[0]}}}"
    if tree.data == "log":
        return rf"\log_{{{parts[1] if len(parts) > 1 else 10}}}\left({parts[0]}\right)"
    if tree.data == "abs":
        return rf"\left|{parts[0]}\right|"
    if tree.data in ("floor", "ceil"):
        return rf"\l{tree.data} {parts[0]} \r{tree.data}"
    if tree.data == "binom":
        return rf"\binom{{{parts[0]}}}{{{parts[1]}}}"
    if tree.data not in _FUNCTIONS:
        raise Unwritable(tree.data)
    return rf"\{tree.data}\left({', '.join(parts)}\right)"


def _big(tree: Tree) -> str:
    *scripts, body = tree.parts
    text = f"\\{tree.data}"
    for script in scripts:
        text += ("_" if script.data == "below" else "^") + f"{{{_script(script.parts[0])}}}"
    if tree.data == "int" and body.kind == "product" and len(body.parts) > 2 and body.parts[-2] == name("d"):
        rest = body.parts[:-2]
        return f"{text} {latex(rest[0] if len(rest) == 1 else body._replace(parts=rest))} d{latex(body.parts[-1])}"
    return f"{text} {latex(body)}"


def _script(tree: Tree) -> str:
    if tree.kind == "relation" and tree.data in (("=",), ("→",)):
        left, right = map(latex, tree.parts)
        return left + ("=" if tree.data == ("=",) else r" \to ") + right
    return latex(tree)
