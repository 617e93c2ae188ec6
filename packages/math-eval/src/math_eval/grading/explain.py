r"""How two answers are read and why they are equal or not, as an outline for people.

>>> print(explain(r"\frac{1}{2}", "0.5"))
answer \frac{1}{2}
  quotient
    number 1
    number 2
reference 0.5
  number 0.5
equal: proved by exact algebra
"""

from math_eval.equality import POLICIES, compare
from math_eval.reading import read
from math_eval.reading.tree import Tree, show

from . import limits
from .extract import reference_answer

_MAX_LINES = 40
_LEAVES = frozenset({"number", "name", "word", "phrase", "digits", "clock"})


def explain(answer: str | None, gold: str, policy: str = "default") -> str:
    """The trees of an answer and of the reference answer, and the result of their comparison.

    Args:
        answer: The answer found in a completion, or None.
        gold: The reference answer, or a solution that contains it.
        policy: What reasonable people judge differently: `strict`, `default` or `lenient`.
    """
    gold = reference_answer(gold)
    lines = [*_side("answer", answer), *_side("reference", gold)]
    trees = [None if text is None or limits.too_much(text) else read(text).tree for text in (answer, gold)]
    if trees[0] is None or trees[1] is None:
        return "\n".join(lines)
    equal, why = compare(trees[0], trees[1], POLICIES[policy])
    verdict = {True: "equal", False: "different", None: "undecided"}[equal]
    return "\n".join([*lines, f"{verdict}: {why}"])


def _side(name: str, text: str | None) -> list[str]:
    if text is None:
        return [f"{name}: none"]
    if reason := limits.too_much(text):
        return [f"{name}: {reason}"]
    reading = read(text)
    head = f"{name} {' '.join(text.split())}"
    if reading.tree is None:
        return [head, f"  unread: {reading.reason}"]
    outline = _outline(reading.tree, 1)
    return [head, *outline[:_MAX_LINES], *(["  …"] if len(outline) > _MAX_LINES else [])]


def _outline(tree: Tree, depth: int) -> list[str]:
    """One line for each part of a tree, indented by its depth."""
    indent = "  " * depth
    if tree.kind in _LEAVES:
        return [f"{indent}{tree.kind} {show(tree)}"]
    data = "" if tree.data is None else f" {_data(tree)}"
    return [f"{indent}{tree.kind}{data}", *(line for part in tree.parts for line in _outline(part, depth + 1))]


def _data(tree: Tree) -> str:
    if tree.kind == "quantity":
        units, words = tree.data
        return " ".join([*(unit if power == 1 else f"{unit}^{power}" for unit, power in units), *words])
    return " ".join(tree.data) if tree.kind == "relation" else str(tree.data)
