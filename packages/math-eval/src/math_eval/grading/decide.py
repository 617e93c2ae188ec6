r"""One answer against another: both are read, and their trees compared.

Answers that are spelt alike are equal; an unread one equals nothing else. A comma that has two meanings is tried with
both. What remains undecided is left to math-verify.

>>> decide(r"\frac{1}{2}", "0.50").equal, decide("1,000", "1000 dollars").equal, decide(r"\sqrt{8}", r"2\sqrt{2}").equal
(True, True, True)
>>> decide("0.333", r"\frac{1}{3}").why
'read as 0.333 and 1 / 3: 0.333 and 1 / 3 differ'
"""

from typing import NamedTuple

from math_eval.equality import Policy, compare
from math_eval.reading import Reading, read
from math_eval.reading.tree import Tree, show

_MAX_SHOWN = 100


class Decision(NamedTuple):
    """Whether two answers are equal (None if undecided), why, and whether the answer and the gold could be read."""

    equal: bool | None
    why: str
    answer_read: bool = True
    gold_read: bool = True

    @property
    def compared(self) -> bool:
        """Whether both were read and found equal or different."""
        return self.equal is not None and self.answer_read and self.gold_read


def decide(answer: str, gold: str, policy: Policy | None = None) -> Decision:
    """Whether two answers are equal.

    Args:
        answer: An answer as text.
        gold: The reference answer as text.
        policy: What reasonable people judge differently; None is the default policy.
    """
    one, two = read(answer), read(gold)
    if one.spelling == two.spelling and one.spelling:
        return Decision(True, f"both are spelt {_short(one.spelling)}", one.tree is not None, two.tree is not None)
    if two.tree is None:
        why = f"the reference answer {_short(gold)} is unread: {two.reason}"
        return Decision(False, why, one.tree is not None, gold_read=False)
    if one.tree is None:
        return Decision(False, f"the answer {_short(answer)} is unread: {one.reason}", answer_read=False)
    first = compare(one.tree, two.tree, policy)
    if first.equal is not True:
        for left, right in _alternatives(one, two):
            if compare(left, right, policy).equal:
                return Decision(True, f"{_read_as(left, right)}: they are equal")
    return Decision(first.equal, f"{_read_as(one.tree, two.tree)}: {first.why}")


def _alternatives(one: Reading, two: Reading) -> list[tuple[Tree, Tree]]:
    """The pairs of trees with the other meaning of a comma on one side."""
    assert one.tree is not None
    assert two.tree is not None
    pairs = [(one.other, two.tree), (one.tree, two.other)]
    if _is_decimal(two.tree):
        pairs.append((one.comma, two.tree))
    if _is_decimal(one.tree):
        pairs.append((one.tree, two.comma))
    return [(left, right) for left, right in pairs if left is not None and right is not None]


def _is_decimal(tree: Tree) -> bool:
    return tree.kind == "number" and tree.data[1] > 0


def _read_as(one: Tree, two: Tree) -> str:
    return f"read as {_short(show(one))} and {_short(show(two))}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
