r"""The last value in prose without formulas: a number, an expression in plain text, a list, a quantity or a time.

A number that belongs to a larger expression is not taken out of it: `y = 2x + 3`, `(2, 3)` and `5 feet 3 inches` stay
whole. Numbers with a comma or "and" between them are one list. Phrases and formulas are left to `phrases`.

>>> last_value("So the vertex is (2, 3)."), last_value("So she paid 3 * 4 = $12 in all.")
('(2, 3)', '$12')
>>> last_value("The values are 3, 5 and 8."), last_value("It is certainly not 8.")
('3, 5, 8', None)
"""

import re
from itertools import pairwise
from typing import NamedTuple

from math_eval.reading import read
from math_eval.reading.units import find_unit, is_unit
from math_eval.reading.vocabulary import MULTIPLIERS, number_of

_WHOLE = r"(?:\d+,\d{1,2}(?![\d,])|\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)"
NUMBER = re.compile(
    rf"(?:(?<![\w)\]}}.])[-−–])?\\?[$€£¥₹]?(?:\d{{1,4}}(?: and)? \d{{1,2}}/\d{{1,3}}(?!\d)|{_WHOLE}(?:/\d+)?)\\?%?"
)
LINK = re.compile(r"[\s,.*]*(?:and|or|und|et|y|oder|ou|和|或|与)?[\s,*]*", re.IGNORECASE)
MAX_LINK = 40
"""Characters between two values of one list."""
_LIST_LINK = re.compile(r" ?, ?|[ ,]*\b(?:and|or|und|et|y|oder|ou)\b ?|[和或与、]", re.IGNORECASE)
_FUNCTIONS = "sqrt|cbrt|sin|cos|tan|arcsin|arccos|arctan|log|ln|exp|pi|choose|out of|remainder"
_TOKEN = re.compile(
    rf"(?P<number>\\?[$€£¥₹]?{_WHOLE}\\?%?)|(?P<function>(?:{_FUNCTIONS})(?![A-Za-z]))|(?P<sign>π(?![α-ω])|[∞°!:,])|(?P<word>[^\W\d_]+)"
    r"|(?P<operator>\*\*|[<>]=|[-−–+*/^=<>≤≥≠±×·÷])|(?P<open>[(\[{|√])|(?P<close>[)\]}|])|(?P<gap>[ \t]+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_VARIABLES = frozenset("abcijknpqruvwxyzABCPQXYZ")
_LOOSE = " \t+*/^=<>≤≥≠×·÷:,±–"
_TIMES = re.compile(r"(?<=\d )[xX](?= [$\d])|(?<=\d)[xX](?=\d)")
_ASIDE = re.compile(
    r"(?P<kept>[\d%] (?:[a-z]+ )?)(?:\((?:[a-z]{2,} [^()\n]{0,80}|[^()\n]{0,40} [a-z]{3,})\))"
    r"|,? (?:rounded|correct|accurate) to [^.\n]{1,40}"
)
"""What adds to a number that it follows: `(in 2 rows)`, `rounded to 2 decimal places`."""
_REACH = 300
_NEGATED = re.compile(
    r"(?:\bnot|n['’]t|\bnever|\bcannot)(?:\s+(?:be|equal|to|exactly|just|the|answer|is))*\s*\$?$", re.IGNORECASE
)
_DENIED = re.compile(r"\$?\s*(?:is|was|are)(?:\s+not|n['’]t)\s+(?:the|an?|our|correct|right)\b", re.IGNORECASE)
_HALF = re.compile(r"\s?[ap]\.?\s?m\b\.?", re.IGNORECASE)
_BEFORE_LINK = re.compile(r"(?: ?, ?(?:and |or )?| (?:and|or) )$")
_MODULUS = re.compile(r"\s*(\(?)\bmod(?:ulo)?\s*$", re.IGNORECASE)
_INDEX = re.compile(r"\b([A-Za-z])(\d)(?=\s*=)")
_MAX_LISTED = 16
_NEAR = 20
_COMPOUND = re.compile(rf"[$€£]?{_WHOLE}(?: ?[A-Za-z]+)?,?(?: and)? $")
_UNIT = re.compile(r" ?([A-Za-z]+)")


def last_value(text: str, parts: int = 1) -> str | None:
    """The last value in a text, or None if there is none or it is denied.

    Args:
        text: Text without a formula.
        parts: Number of requested answers; so many numbers in a row are a list, whatever joins them.
    """
    text = _ASIDE.sub(lambda aside: (aside["kept"] or "").ljust(len(aside.group())), _TIMES.sub("×", text))
    numbers = list(NUMBER.finditer(text))
    if not numbers:
        return None
    last = numbers[-1]
    if is_denied(text, last):
        return None
    modulus = _MODULUS.search(text, max(0, last.start() - _NEAR), last.start())
    if modulus is not None and len(numbers) > 1:
        residue = _expression(text, numbers[-2])
        value = numbers[-2].group() if residue is None else residue.text
        return f"{value} {text[modulus.start() : last.end()].strip()}{')' * bool(modulus[1])}"
    if (found := _expression(text, last)) is not None:
        return ", ".join([*_listed_before(text, found), found.text])
    size = _UNIT.match(text, last.end())
    if size is not None and _changes(size[1].lower()):
        return last.group() + size.group()
    return _compound(text, last) or ", ".join(match.group() for match in row(text, numbers, parts))


def is_denied(text: str, found: re.Match[str]) -> bool:
    """Whether the text denies that a value is the answer."""
    before, after = text[max(0, found.start() - 60) : found.start()], text[found.end() : found.end() + 40]
    return bool(_NEGATED.search(before) or _DENIED.match(after))


def row(text: str, found: list[re.Match[str]], parts: int, *, joins: bool = True) -> list[re.Match[str]]:
    """The last match, with those before it that belong to the same list.

    Args:
        text: The text of the matches.
        found: Values in the text, in order.
        parts: Number of requested answers; up to this number, anything that may join values does.
        joins: Whether a comma, "and" or "or" between values makes them a list of any length, if "and" or "or" is there.
    """
    chain = _linked(text, found, max(parts, _MAX_LISTED), LINK)
    plain = _linked(text, chain, _MAX_LISTED, _LIST_LINK)
    words = any(text[one.end() : two.start()].strip(" ,") for one, two in pairwise(plain))
    return plain if joins and words and len(plain) > parts else chain[-parts:]


def _linked(text: str, found: list[re.Match[str]], most: int, link: re.Pattern[str]) -> list[re.Match[str]]:
    """The last match, and those before it with only a link between each two."""
    chain = found[-1:]
    for match in reversed(found[-most:-1]):
        start, end = match.end(), chain[0].start()
        if end - start > MAX_LINK or not link.fullmatch(text, start, end):
            break
        chain.insert(0, match)
    return chain


def _changes(word: str) -> bool:
    """Whether a word after a number makes another number of it, such as `million` or `tenths`."""
    part = word.endswith(("ths", "thirds")) and number_of(["one", word]) is not None
    return part or word in MULTIPLIERS or word in ("squared", "cubed")


class _Found(NamedTuple):
    """An expression as text, the kind of its tree, and where it begins and ends."""

    text: str
    kind: str
    start: int
    end: int


def _listed_before(text: str, last: _Found) -> list[str]:
    """The assignments or tuples before one of their kind, with only commas, "and" or "or" between them."""
    listed: list[str] = []
    while last.kind in ("relation", "tuple") and len(listed) < _MAX_LISTED:
        begin = max(0, last.start - _REACH)
        link = _BEFORE_LINK.search(text[begin : last.start])
        numbers = list(NUMBER.finditer(text, begin, begin + link.start())) if link else []
        found = _expression(text, numbers[-1]) if numbers else None
        if link is None or found is None or found.kind != last.kind or found.end != begin + link.start():
            break
        listed.insert(0, found.text)
        last = found
    return listed


def _expression(text: str, number: re.Match[str]) -> _Found | None:
    """The expression in plain text that contains a number; None if that is the number alone."""
    line = text.rfind("\n", 0, number.start()) + 1
    begin = max(line, number.start() - _REACH)
    end = text.find("\n", number.end())
    end = min(end if end >= 0 else len(text), number.end() + _REACH)
    tokens = list(_TOKEN.finditer(text, begin, end))
    at = next(index for index, token in enumerate(tokens) if token.end() > number.start() and token["number"])
    first = last = at
    while first > 0 and _belongs(text, tokens, first - 1):
        first -= 1
    while last + 1 < len(tokens) and _belongs(text, tokens, last + 1):
        last += 1
    found = _whole(text[tokens[first].start() : tokens[last].end()])
    if NUMBER.fullmatch(found) or number.group() not in found:
        return None
    end = tokens[last].end()
    if re.fullmatch(r"\d{1,2}:\d\d", found) and (half := _HALF.match(text, end)):
        return _Found(found + half.group(), "clock", tokens[first].start(), half.end())
    tree = read(found).tree
    if tree is None or (tree.kind in ("phrase", "option") and not re.search("out of|remainder", found)):
        return None
    return _Found(found, tree.kind, tokens[first].start(), tokens[last].end())


def _belongs(text: str, tokens: list[re.Match[str]], index: int) -> bool:
    """Whether a token may be part of an expression, looking at its neighbours."""
    token = tokens[index]
    before = tokens[index - 1] if index > 0 else None
    after = tokens[index + 1] if index + 1 < len(tokens) else None
    kind = token.lastgroup
    if kind == "gap":
        if before is None or after is None:
            return False
        operated = {before.lastgroup, after.lastgroup} & {"operator", "function"}
        return bool(operated) or before.group() == "," or after.group() == "π"
    if kind == "word":
        if before is not None and (before["number"] or before.group() in (")", "π")):
            followed = after is not None and after.lastgroup == "gap" and _begins_word(tokens, index + 2)
            letters = len(token.group()) < 3 and _VARIABLES.issuperset(token.group())
            return letters and not followed and not is_unit(token.group())
        near = [one for one in (_beside(tokens, index, -1), _beside(tokens, index, 1)) if one is not None]
        operated = any(one.lastgroup in ("operator", "open", "close") for one in near)
        beyond = _beside(tokens, index + 1, 1)
        indexed = after is not None and after["number"] and beyond is not None and beyond.group() == "="
        return len(token.group()) == 1 and (operated or bool(indexed))
    if kind == "sign" and token.group() == "!":
        return _begins_word(tokens, index + 2) or (after is not None and after.lastgroup == "operator")
    if kind == "sign" and token.group() == ":":
        return before is not None and after is not None and bool(before["number"] and after["number"])
    if kind == "sign" and token.group() == ",":
        return _is_bracketed(tokens, index)
    if kind == "operator" and token.group() in "-−–":
        spaced = after is not None and after.lastgroup == "gap"
        lone = before is None or before.lastgroup == "gap"
        left, right = _beside(tokens, index, -1), _beside(tokens, index, 1)
        words = any(
            one is None or (one["word"] and len(one.group()) > 1) or one.lastgroup == "other" for one in (left, right)
        )
        return not (words and (spaced or not lone))
    return kind in ("number", "function", "operator", "open", "close", "sign")


def _beside(tokens: list[re.Match[str]], index: int, step: int) -> re.Match[str] | None:
    """The next token on one side that is no gap."""
    index += step
    while 0 <= index < len(tokens) and tokens[index].lastgroup == "gap":
        index += step
    return tokens[index] if 0 <= index < len(tokens) else None


def _begins_word(tokens: list[re.Match[str]], index: int) -> bool:
    return index < len(tokens) and bool(tokens[index]["word"]) and tokens[index].group()[0].islower()


def _is_bracketed(tokens: list[re.Match[str]], index: int) -> bool:
    """Whether a bracket that is open at this token closes after it."""
    depth = 0
    for token in reversed(tokens[:index]):
        depth += (token.group() in ")]}") - (token.group() in "([{")
        if depth < 0:
            return any(token.group() in ")]}" for token in tokens[index:])
    return False


def _whole(text: str) -> str:
    """The text without loose operators and brackets at its ends, with the end of a chain such as `3 * 4 = 12`."""
    while True:
        stripped = text.strip(_LOOSE)
        stripped = re.sub(r"^[-−]\s+|\s*[-−]+$", "", stripped)
        if stripped[:1] in ("(", "[", "{") and not re.search(r"[)\]}]", stripped):
            stripped = stripped[1:]
        if stripped[-1:] in (")", "]", "}") and not re.search(r"[(\[{]", stripped):
            stripped = stripped[:-1]
        if stripped == text:
            break
        text = stripped
    text = _INDEX.sub(r"\1_\2", text)
    first, *others = re.split("[=≈]", text)
    end = others[-1].strip() if others else ""
    chain = len(others) > 1 or not re.search("[A-Za-z]", first)
    return end if chain and NUMBER.fullmatch(end) else text


def _compound(text: str, number: re.Match[str]) -> str | None:
    """A quantity in two units that ends in a number and its unit, such as `5 feet 3 inches`."""
    unit = _UNIT.match(text, number.end())
    before = _COMPOUND.search(text[max(0, number.start() - 40) : number.start()])
    if unit is None or before is None or find_unit(unit[1]) is None:
        return None
    found = re.sub(r"\b(?!and\b)[A-Za-z]+", r"\\text{\g<0>}", before.group() + number.group() + unit.group())
    tree = read(found).tree
    return found if tree is not None and tree.kind == "quantity" else None
