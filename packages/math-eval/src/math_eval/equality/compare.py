r"""The comparison of two trees, by kind.

Order counts in tuples, words of letters and cross products; a list without brackets has none, but counts its members.
`compare` never guesses: `equal` is None where nothing here decides.

>>> from math_eval.reading import read
>>> compare(read("BAC").tree, read("CAB").tree)
Comparison(equal=False, why='the letters BAC and CAB differ')
"""

from typing import NamedTuple

from math_eval.reading.tree import Tree, show, walk

from .arrays import array_of, is_array
from .conditions import same_given
from .plain import VALUES, one_value, plain
from .policy import POLICIES, Policy
from .quantities import is_quantity, same_quantity
from .regions import is_surely_region, letter_of, region
from .relations import (
    assignments,
    expand,
    named,
    same_congruence,
    same_free,
    same_region,
    same_relation,
)
from .values import same_digits, same_value
from .wording import are_words, same_words

_MAX_PAIRS = 400
_NO_ORDER = frozenset({"union", "intersection", "cases"})
_IN_ORDER = frozenset({"difference", "by", "row"})


class Comparison(NamedTuple):
    """Whether two answers are equal (None if that is not decided), and why."""

    equal: bool | None
    why: str


def compare(one: Tree, two: Tree, policy: Policy | None = None) -> Comparison:
    """Compare two answers.

    Args:
        one: An answer.
        two: The other one.
        policy: What reasonable people judge differently; None is the default policy.
    """
    judge = _Judge(policy or POLICIES["default"])
    equal = judge.same(one, two)
    return Comparison(equal, judge.why)


class _Judge:
    """One comparison; `why` is the reason that was found first."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.why = ""
        self._pairs = 0

    def _because(self, verdict: bool | None, why: str) -> bool | None:
        self.why = why
        return verdict

    def same(self, one: Tree, two: Tree) -> bool | None:
        """Whether two trees are the same answer."""
        if one == two:
            return self._because(True, "both are read alike")
        one, two = (plain(tree, _Judge(self.policy).same) for tree in (one, two))
        if one == two:
            return self._because(True, "both are read alike")
        kinds = {one.kind, two.kind}
        if "option" in kinds:
            return self._option(one, two)
        if "given" in kinds:
            return self._given(one, two)
        if "remark" in kinds:
            return self._because(None, "a remark is on one side only") if one.kind != two.kind else None
        if are_words(one, two, self.policy):
            return self._because(*same_words(one, two, self.policy))
        return self._structured(one, two)

    def _structured(self, one: Tree, two: Tree) -> bool | None:
        kinds = {one.kind, two.kind}
        if not isinstance(verdict := self._region(one, two), str):
            return verdict
        if kinds & {"relation", "list", "plusminus", "minusplus", "set"} or _has_choice(one) or _has_choice(two):
            return self._statements(one, two)
        if kinds & {"tuple", "matrix"} or is_array(one) or is_array(two):
            return self._arrays(one, two)
        if kinds == {"mod"}:
            return same_congruence(one, two, self.same)
        if is_quantity(one) or is_quantity(two):
            verdict = same_quantity(one, two, self.same, self.policy)
            return self._because(
                verdict, self.why if verdict else f"{show(one)} and {show(two)} are different quantities"
            )
        if "digits" in kinds:
            return self._because(*same_digits(one, two, self.policy))
        if kinds == {"ratio"}:
            return self._ratio(one, two)
        if kinds <= VALUES | {"ratio"} and "ratio" in kinds and self.policy.equivalent_forms:
            return self._values(_as_quotient(one), _as_quotient(two))
        if one.kind == two.kind and one.kind in _NO_ORDER:
            return self._members([*map(_as_given, one.parts)], [*map(_as_given, two.parts)])
        if one.kind == two.kind and one.kind in _IN_ORDER | {"builder"}:
            verdict = self._given(one, two) if kinds == {"builder"} else self._in_order(one.parts, two.parts)
            return self._members(list(one.parts), list(two.parts)) if verdict is False and one.kind == "by" else verdict
        if kinds <= VALUES:
            return self._values(one, two)
        return self._because(False, f"{_article(one.kind)} and {_article(two.kind)} are compared")

    # --- options, conditions and words ---

    def _option(self, one: Tree, two: Tree) -> bool | None:
        if one.kind == two.kind:
            if one.data != two.data:
                return self._because(False, f"the options {one.data} and {two.data} differ")
            contents = self.same(one.parts[0], two.parts[0]) if one.parts and two.parts else True
            return self._because(contents is not False, f"both are option {one.data}")
        option, other = (one, two) if one.kind == "option" else (two, one)
        if other.kind == "name" and len(other.data) == 1 and other.data.isupper():
            return self._because(other.data == option.data, f"option {option.data} and {other.data} are compared")
        if option.parts:
            return self.same(option.parts[0], other)
        return self._because(False, f"option {option.data} and {show(other)} are compared")

    def _given(self, one: Tree, two: Tree) -> bool | None:
        if one.kind != two.kind:
            return self._because(False, "only one side has a condition")
        verdict = same_given(one, two, self.same)
        return self._because(verdict, "values and conditions are equal" if verdict else "values or conditions differ")

    # --- sets of real numbers ---

    def _region(self, one: Tree, two: Tree) -> bool | str | None:
        """Whether two sets of real numbers are equal; an empty string if they are none, or perhaps points."""
        sure = [is_surely_region(tree) for tree in (one, two)]
        relations = [bool(letter_of(tree)) and not named(tree) for tree in (one, two)]
        assigned = [named(tree) for tree in (one, two)]
        if relations == [True, True] and letter_of(one) != letter_of(two):
            return self._because(False, f"they are about {letter_of(one)} and {letter_of(two)}")
        either = self.policy.either_interval and any(relations)
        if not (any(sure) or either or relations == [True, True] or (relations[1] and one.kind == "tuple")) or (
            any(relations) and not self.policy.equivalent_forms
        ):
            return ""
        pair_for_relation = relations[1] and one.kind == "tuple" and one.data == "()"
        decided = either or pair_for_relation or all(map(any, zip(sure, relations, map(bool, assigned), strict=True)))
        if any(relations) and not decided:
            return ""
        found = [region(pair[1] if pair is not None and tree.data == ("∈",) else tree)
                 for tree, pair in zip((one, two), assigned, strict=True)]  # fmt: skip
        if found[0] is None or found[1] is None:
            return ""
        verdict = same_region(found[0], found[1], self.same)
        return self._because(verdict, "the sets of numbers are equal" if verdict else "the sets of numbers differ")

    # --- lists and relations ---

    def _statements(self, one: Tree, two: Tree) -> bool | None:
        member, other = (one, two) if one.kind == "relation" else (two, one)
        plain = other.kind == "set" or (other.kind == "list" and all(part.kind != "relation" for part in other.parts))
        if member.data == ("∈",) and plain and (pair := named(member)):
            return self.same(pair[1], other)
        if {one.data, two.data} == {"or", "∧"}:
            return self._because(False, "one is joined by or, the other by and")
        one, two = (one_value(tree, other, self.same) for tree, other in ((one, two), (two, one)))
        left, right = expand(one), expand(two)
        if len(left) == len(right) == 1 and (left[0] != one or right[0] != two):
            return self.same(left[0], right[0])
        first, second = assignments(left), assignments(right)
        if first is not None or second is not None:
            verdict = self._assignments(first, second, one, two)
            if verdict is not ...:
                return verdict
        if one.kind == two.kind == "relation" and len(left) == len(right) == 1:
            verdict = same_relation(one, two, self.same, self.policy)
            return self._because(verdict, "the relations agree" if verdict else f"{show(one)} and {show(two)} differ")
        if len(left) == len(right) == 1:
            return self._one_relation(left[0], right[0])
        if "tuple" in (one.kind, two.kind) and one.kind != two.kind:
            loose = one.kind == "list" or (one.kind == "set" and one.data == "plain")
            if loose and two.data == "()" and self.policy.equivalent_forms:  # a tuple without its brackets
                return self._in_order(left, two.parts)
            return self._because(False, "a tuple and a list are compared")
        return self._lists(left, right, ordered=not self.policy.any_order and "set" not in (one.kind, two.kind))

    def _one_relation(self, one: Tree, two: Tree) -> bool | None:
        """A relation and something else."""
        relation, other = (one, two) if one.kind == "relation" else (two, one)
        pair = named(relation)
        if relation.kind != "relation":
            return (
                self._structured(one, two)
                if _has_no_list(one) and _has_no_list(two)
                else self._because(False, "kinds differ")
            )
        if pair is None or other.kind == "relation":
            return self._because(False, f"{show(relation)} is not a name with a value")
        return same_free(pair[1], pair[0], other, self.same)

    def _assignments(self, first: dict[str, Tree] | None, second: dict[str, Tree] | None, one: Tree, two: Tree):
        if first is not None and second is not None:
            if first.keys() != second.keys():
                if {key.partition("_")[0] for key in first} == {key.partition("_")[0] for key in second}:
                    return self._lists(list(first.values()), list(second.values()))
                return self._because(False, f"the names {', '.join(first)} and {', '.join(second)} differ")
            return self._in_order([first[key] for key in sorted(first)], [second[key] for key in sorted(first)])
        table, other = (first, two) if first is not None else (second, one)
        if table is None or not self.policy.equivalent_forms:
            return ...
        values = [table[key] for key in sorted(table)]
        if other.kind == "tuple" and other.data == "()":
            return self._in_order(values, list(other.parts))
        if other.kind in ("list", "set") and not any(part.kind == "relation" for part in other.parts):
            if len({key.partition("_")[0] for key in table}) == 1:
                return self._lists(values, expand(other))
            written = self._in_order(list(table.values()), expand(other))
            return written if written is not False else self._in_order(values, expand(other))
        return ...

    def _lists(self, left: list[Tree], right: list[Tree], *, ordered: bool = False) -> bool | None:
        if len(left) == 1 or len(right) == 1:
            return self._because(False, f"{len(left)} and {len(right)} values are compared")
        pairs = [[named(one) for one in side] for side in (left, right)]
        for side, found, others in ((left, pairs[0], pairs[1]), (right, pairs[1], pairs[0])):
            roots = {pair[0].partition("_")[0] for pair in found if pair is not None}
            other_roots = {pair[0].partition("_")[0] for pair in others if pair is not None}
            if len(roots) == 1 and other_roots <= roots:
                side[:] = [pair[1] if pair is not None else one for one, pair in zip(side, found, strict=True)]
        return self._in_order(left, right) if ordered else self._members(left, right)

    def _in_order(self, parts: "list[Tree] | tuple[Tree, ...]", others: "list[Tree] | tuple[Tree, ...]") -> bool | None:
        if len(parts) != len(others):
            return self._because(False, f"{len(parts)} and {len(others)} parts are compared")
        undecided = False
        for index, (one, two) in enumerate(zip(parts, others, strict=True), start=1):
            verdict = self.same(one, two)
            if verdict is False:
                return self._because(False, f"part {index}: {self.why}")
            undecided = undecided or verdict is None
        return self._because(None if undecided else True, "all parts agree in order")

    def _members(self, parts: list[Tree], others: list[Tree]) -> bool | None:
        """Whether each member has an equal one of its own on the other side; a repeated tuple counts once."""
        parts, others = _without_repeated_tuples(parts), _without_repeated_tuples(others)
        if len(parts) != len(others):
            return self._because(False, f"{len(parts)} and {len(others)} members are compared")
        rest = list(others)
        undecided = False
        for one in parts:
            if one in rest:
                rest.remove(one)
                continue
            self._pairs += len(rest)
            if self._pairs > _MAX_PAIRS:
                return self._because(None, "too many members are compared")
            verdicts = [self.same(one, two) for two in rest]
            if True in verdicts:
                del rest[verdicts.index(True)]
            elif None in verdicts:
                undecided = True
            else:
                return self._because(False, f"{show(one)} is on one side only")
        return self._because(None if undecided else True, "all members agree")

    # --- tuples, vectors and matrices ---

    def _arrays(self, one: Tree, two: Tree) -> bool | None:
        one, two = array_of(one), array_of(two)
        if one.kind == two.kind == "matrix":
            return self._in_order(one.parts, two.parts)
        if one.kind == two.kind == "tuple":
            point = len(one.parts) > 2 or one.data == two.data
            verdict = self._in_order(one.parts, two.parts)
            return (
                verdict
                if point or verdict is False
                else self._because(False, f"the brackets {one.data} and {two.data} differ")
            )
        kinds = {one.kind, two.kind}
        if kinds == {"matrix", "tuple"} and self.policy.equivalent_forms:
            array, parts = (one, two.parts) if one.kind == "matrix" else (two, one.parts)
            cells = [cell for row in array.parts for cell in row.parts]
            if 1 in (len(array.parts), len(array.parts[0].parts)):
                return self._in_order(cells, parts)
        if "list" in kinds or "set" in kinds or not kinds & {"tuple", "matrix"}:
            return self._because(False, "a tuple and a list are compared")
        return self._because(False, f"{_article(one.kind)} and {_article(two.kind)} are compared")

    # --- numbers ---

    def _values(self, one: Tree, two: Tree) -> bool | None:
        return self._because(*same_value(one, two, self.policy))

    def _ratio(self, one: Tree, two: Tree) -> bool | None:
        if one.data and two.data:
            return self._because(False, "the times differ")
        if len(one.parts) != len(two.parts):
            return self._because(False, f"{len(one.parts)} and {len(two.parts)} parts are compared")
        undecided = False
        for left, right in zip(one.parts[1:], two.parts[1:], strict=True):
            verdict = self.same(Tree("product", (left, two.parts[0])), Tree("product", (one.parts[0], right)))
            if verdict is False:
                return self._because(False, "the ratios differ")
            undecided = undecided or verdict is None
        return self._because(None if undecided else True, "the ratios are equal")


def _without_repeated_tuples(parts: list[Tree]) -> list[Tree]:
    return list(dict.fromkeys(parts)) if parts and all(part.kind == "tuple" for part in parts) else parts


def _as_given(member: Tree) -> Tree:
    """A case as a value with its condition; other members as they are."""
    return Tree("given", member.parts) if member.kind == "row" and len(member.parts) == 2 else member


def _as_quotient(tree: Tree) -> Tree:
    return Tree("quotient", tree.parts) if tree.kind == "ratio" and len(tree.parts) == 2 else tree


def _has_choice(tree: Tree) -> bool:
    return any(part.kind in ("plusminus", "minusplus") for part in walk(tree))


def _has_no_list(tree: Tree) -> bool:
    return tree.kind not in ("list", "set", "plusminus", "minusplus", "relation")


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
