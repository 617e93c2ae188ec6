"""Words that have a meaning in an answer: joiners, hedges, conditions, numbers, and phrases with the same meaning.

Units are in `units`. English, with the joiners of other languages.

>>> number_of(["twenty", "four"]), number_of(["two", "thirds"]), number_of(["four", "red"])
(Fraction(24, 1), Fraction(2, 3), None)
>>> meaning(("does", "not", "exist")) == meaning(("dne",))
True
"""

from fractions import Fraction

from .words import word_set, words

AND = word_set("∧ and und et y e и och 和 与 及 並 以及 と 그리고 و") - {"y", "e"}
OR = word_set("∨ or oder ou или 或 或者 または أو")
HEDGES = word_set(
    "about approximately approx probably likely presumably surely roughly around nearly exactly precisely simply just "
    "only circa equal equals to therefore thus hence so then also both total answer final value result is are be it be "
    "约 大约 约为 是 为"
)
EQUALS = word_set("is are equals equal be was were gives 是 为 等于 ist sind es est son это равно")
CONDITIONS = word_set("if when where for whenever provided with given assuming such unless while under on")
BARE_REASONS = word_set("since because ie")
"""Words that begin a reason also where neither a comma nor a bracket is before them."""
REASONS = BARE_REASONS | word_set("as by see using approximately approx note which rounded")
"""Words that begin a reason or remark, which is no part of an answer."""
COMPARATIVES = word_set("more less fewer greater above below over under higher lower larger smaller")
EXCEPT = word_set("except excluding besides without")
NOT_NEUTRAL = word_set(
    "times plus minus over choose factorial squared cubed divided multiplied root powers half halves quarter "
    "quarters double triple twice thrice pair pairs couple behind ahead short extra late faster slower older "
    "younger apart away toward towards inward outward th st nd rd left right up down upward upwards downward "
    "downwards north south east west n s e w ne nw se sw above below under more less fewer greater least most not "
    "never no negative positive remainder than before after ago later earlier clockwise counterclockwise "
    "anticlockwise forward backward inside outside higher lower bc ad bce ce off loss profit gain debt increase "
    "decrease increasing decreasing each or and is only odd even per many "
    "prime repeating recurring doubled tripled halved approaching exclusive "
    "inclusive excluded included gross sigma open closed rejected extraneous invalid wrong incorrect false impossible"
)
"""Words after a number that change it, so that they are not a unit that may be left out."""

_ONES = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = dict(zip(words("twenty thirty forty fifty sixty seventy eighty ninety"), range(20, 100, 10), strict=True))
_SMALL = {**{name: number for number, name in enumerate(_ONES)}, **_TENS}
MULTIPLIERS = {
    "dozen": 12, "dozens": 12, "hundred": 100, "hundreds": 100, "thousand": 10**3, "thousands": 10**3, "million": 10**6,
    "millions": 10**6, "billion": 10**9, "billions": 10**9, "trillion": 10**12, "trillions": 10**12, "score": 20,
    "万": 10**4,
    "亿": 10**8, "lakh": 10**5, "crore": 10**7,
}  # fmt: skip
_PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    name + end: number
    for number, name in enumerate(
        words(
            "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
        ), start=3
    )
    for end in ("", "s")
} | {"hundredth": 100, "hundredths": 100, "thousandth": 1000, "thousandths": 1000, "sixteenth": 16, "sixteenths": 16,
     "twentieth": 20, "twentieths": 20}  # fmt: skip
NUMBERS = frozenset(_SMALL) | frozenset(MULTIPLIERS) | frozenset(_PARTS)

_SAME = (
    ("dne", "does not exist", "undefined", "not defined", "do not exist", "doesn't exist", "not exist", "nonexistent"),
    ("infinitely many", "infinitely many solutions", "infinite", "infinite solutions", "infinitely many answers",
     "infinite number of solutions", "there are infinitely many solutions", "an infinite number"),
    ("no solution", "no solutions", "no real solution", "none", "no such value exists", "no answer", "has no solution",
     "empty set", "the empty set", "there is no solution", "no real solutions", "there are no solutions"),
    ("real numbers", "all real numbers", "all reals", "reals", "any real number", "every real number",
     "all real values",
     "set of all real numbers", "set of real numbers", "all real x"),
    ("integers", "all integers", "any integer", "set of integers", "set of all integers", "every integer"),
    ("yes", "true", "correct"), ("no", "false"), ("infinity", "positive infinity"),
    ("impossible", "not possible", "cannot be done"),
    ("cannot be determined", "can't be determined", "not enough information"),
    ("equal", "they are equal", "same", "the same"),
)  # fmt: skip
_CLASSES = {tuple(one.split()): group[0] for group in _SAME for one in group}
ARTICLES = frozenset({"a", "an", "the"})


def meaning(words: tuple[str, ...]) -> str:
    """The words without article, and the first of the phrases with the same meaning instead of the phrase."""
    words = tuple(word.lower() for word in words)
    bare = words[1:] if words[:1] and words[0] in ARTICLES and len(words) > 1 else words
    return _CLASSES.get(bare) or _CLASSES.get(words) or " ".join(bare)


def number_of(words: list[str]) -> Fraction | None:
    """The number that the words write out, or None."""
    words = [part for word in words for part in word.lower().split("-") if part]
    if words[:1] and words[0] in ("minus", "negative"):
        value = number_of(words[1:])
        return None if value is None else -value
    if words[:2] == ["a", "dozen"] or (
        words[:1] == ["a"] and len(words) > 1 and words[1] in MULTIPLIERS | _PARTS.keys()
    ):
        words = ["one", *words[1:]]
    if words[:2] in (["half", "a"], ["half", "of"]) and len(words) > 2:
        value = _whole(["one", *words[2:]])
        return None if value is None else value / 2
    if words == ["half"]:
        return Fraction(1, 2)
    if len(words) > 1 and words[-1] in _PARTS:
        return _with_part(words)
    return _whole(words)


def _with_part(words: list[str]) -> Fraction | None:
    """`two thirds`, `three and a half`."""
    if "and" in words:
        at = len(words) - 1 - words[::-1].index("and")
        whole, part = number_of(words[:at]), number_of(words[at + 1 :])
        return None if whole is None or part is None or not part < 1 else whole + part
    count = _whole(words[:-1])
    return None if count is None else count / _PARTS[words[-1]]


def _whole(words: list[str]) -> Fraction | None:
    total = current = 0
    last = ""
    for word in words:
        if word == "and":
            if last not in MULTIPLIERS:
                return None
        elif word in _SMALL:
            small = _SMALL[word]
            if last in _SMALL and not (last in _TENS and 0 < small < 10):
                return None
            current += small
        elif word in MULTIPLIERS:
            size = MULTIPLIERS[word]
            if not last:
                return None
            if size <= 100:
                current *= size
            else:
                total, current = total + current * size, 0
        else:
            return None
        last = word
    return Fraction(total + current) if words and last != "and" else None
