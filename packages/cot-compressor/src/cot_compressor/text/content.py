"""Content items of a text: its formulas, numbers and content words, by which two texts can be compared.

A word counts by its first six letters in lower case, so `packs` and `packed` are near enough; a number by its value; a
formula by `formula_key`. Chinese and Japanese count by pairs of characters. What the items of a response are worth is
in `item_weights`.

>>> from cot_compressor.text.segment import segment
>>> text = "So Noor packed 1,200 pens: 12 + 15 = 27"
>>> sorted(read_items(text, segment(text)))
['12', '1200', '15', '27', '=12+15=27', 'noor', 'packed', 'pens']
"""

import re
from collections.abc import Mapping, Sequence, Set

from .formulas import word_set
from .relations import formula_key, normal_number
from .segment import Unit, segment
from .tokens import CJK

FORMULA = "="
"""First character of an item that is a formula."""
_STEM = 6
_ITEM = re.compile(rf"[^\W\d_{CJK}][^\W\d_{CJK}'’-]+|\d[\d,]*(?:\.\d+)?|[{CJK}]+")
_STOP_WORDS = word_set(
    "a an the and or but so then of to in for from at by with on as it its that this these those is "
    "are was were be been "
    "has have had do does did will would can could should must may might i you he she we they him "
    "her them his their our "
    "my your let just now okay ok wait also because into than if not no yes which what who whom there here therefore "
    "thus hence since about after again all any am only other some such too very when where while "
    "how why more most each "
    "well maybe perhaps actually really think know see say says said like get got going one two let's it's that's i'm "
    "don't doesn't we're there's isn't i'll der die das und ist ein eine nicht le la les de des et "
    "est un une el los las "
    "es y en que se no"
)


def words_and_numbers(text: str) -> set[str]:
    """The items of a text but its formulas."""
    items: set[str] = set()
    for found in _ITEM.findall(text):
        first = found[0]
        if first.isdigit():
            items.add(normal_number(found.rstrip(",")))
        elif first >= "\u3040":
            items.update(found[at : at + 2] for at in range(len(found) - 1))
        elif (word := found.lower()) not in _STOP_WORDS:
            items.add(word[:_STEM])
    return items


def read_items(text: str, units: Sequence[Unit]) -> set[str]:
    """The items of the part of a text that consists of neighbouring units.

    Args:
        text: The source.
        units: Some neighbouring units of it.
    """
    if not units:
        return set()
    items = words_and_numbers(text[units[0].start : units[-1].end])
    items.update(FORMULA + formula_key(text[unit.start : unit.end]) for unit in units if unit.kind == "math")
    return items


def item_weight(item: str) -> float:
    """What an item is worth. Our choice: a formula as much as three words, a number as one and a half."""
    return 3.0 if item[0] == FORMULA else 1.5 if item[0].isdigit() else 1.0


def item_weights(text: str) -> dict[str, float]:
    """The items of a text, and what each is worth.

    >>> item_weights("so x = 5 pens")
    {'5': 1.5, '=x=5': 3.0, 'pens': 1.0}
    """
    found = read_items(text, segment(text))
    return {item: item_weight(item) for item in sorted(found)}


def coverage(items: Set[str], weights: Mapping[str, float]) -> float:
    """The share of the weight that some items have; 0 if there is no weight.

    >>> coverage({"pens"}, {"pens": 1.0, "5": 1.5})
    0.4
    """
    total = sum(weights.values())
    return sum(weight for item, weight in weights.items() if item in items) / total if total else 0.0
