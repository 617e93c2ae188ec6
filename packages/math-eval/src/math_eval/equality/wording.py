"""The comparison of words: names, options in words, and phrases, without case and article.

>>> from math_eval.reading import read
>>> same_words(read("DNE").tree, read("does not exist").tree, Policy())
(True, 'the words DNE and does not exist agree')
"""

from math_eval.reading.tree import Tree, name, show, walk
from math_eval.reading.vocabulary import CONDITIONS, NOT_NEUTRAL, NUMBERS, REASONS, meaning

from .policy import Policy

_NONE_WORDS = "no solution"
_SPELT = frozenset({"word", "name", "phrase"})


def are_words(one: Tree, two: Tree, policy: Policy) -> bool:
    """Whether two trees are to be compared as words: a phrase is one of them, or letters in order mean the other."""
    kinds = {one.kind, two.kind}
    if "phrase" in kinds or kinds == {"word"}:
        return True
    return kinds == {"word", "name"} and policy.same_words and _meaning(one) == _meaning(two)


def same_words(one: Tree, two: Tree, policy: Policy) -> tuple[bool, str]:
    """Whether two trees, of which one is made of words, have the same meaning, and why."""
    if one.kind in _SPELT and two.kind in _SPELT:
        exact = one.kind == two.kind == "word"
        left, right = (_meaning(one), _meaning(two)) if policy.same_words else (_spelt(one), _spelt(two))
        equal = one.data == two.data if exact else left.replace(" ", "") == right.replace(" ", "")
        what = "letters" if exact else "words"
        return equal, f"the {what} {_spelt(one)} and {_spelt(two)} {'agree' if equal else 'differ'}"
    phrase, other = (one, two) if one.kind == "phrase" else (two, one)
    if _letters(other) == _spelt(phrase).replace(" ", "").lower():
        return True, "both spell the same word"
    if policy.same_words and _meaning(phrase) == _NONE_WORDS and other == Tree("set"):
        return True, "both are empty"
    return False, f"the words {_spelt(phrase)} and {show(other)} are compared"


def changes_nothing(remark: tuple[str, ...]) -> bool:
    """Whether a remark in brackets is a reason, or has only words that do not change the value before it."""
    if remark[0] in REASONS:
        return True
    if "other" in remark:  # `(the other root is rejected)`
        return all(map(str.isalpha, remark))
    changing = (NOT_NEUTRAL - {"is"}) | CONDITIONS | NUMBERS | {"in", "to", "mod", "base"}
    return all(word.isalpha() and len(word) > 1 and word not in changing for word in remark)


def _letters(tree: Tree) -> str:
    """The letters of a product of single letters, which may be a word; an empty string for other trees."""
    parts = list(walk(tree))[1:]
    return "".join(part.data for part in parts).lower() if all(part.kind == "name" for part in parts) else ""


def _meaning(tree: Tree) -> str:
    if tree == name("emptyset"):
        return _NONE_WORDS
    return meaning(tuple(_spelt(tree).split())) if tree.kind in _SPELT else ""


def _spelt(tree: Tree) -> str:
    return " ".join(tree.data) if tree.kind == "phrase" else str(tree.data)
