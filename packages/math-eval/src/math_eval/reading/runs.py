"""Runs of letters resolved: words, functions, names such as `pi`, or products of single letters.

A short run beside a word is a word, too, so that `6 red balls` has two of them. Splitting a text into tokens is left to
`tokens`.

    resolve(tokens)      # the tokens with no token of kind "run"
"""

import re

from . import macros
from .token import Token
from .units import is_unit
from .vocabulary import AND, ARTICLES, CONDITIONS, EQUALS, HEDGES, NUMBERS, OR
from .words import word_set

_PLAIN_WORDS = (
    AND
    | OR
    | CONDITIONS
    | HEDGES
    | EQUALS
    | NUMBERS
    | ARTICLES
    | word_set(
        "in no not all any of per each minus negative percent pct square cubic sq cu units unit day days mod "
        "yes true false even odd prime never none left red"
    )
) - {"a", "e", "y", "o", "et", "as", "it"}
_GLUED_JOINER = re.compile(r"(and|or)([A-Za-z])")
_LINKS = AND | OR | CONDITIONS | EQUALS
_PROSE_LETTERS = 4
_SHORT_JOINERS = {"et": "and", "y": "and", "e": "and", "o": "or"}
_ENDINGS = frozenset({"th", "sh", "ch"})
"""Short names of functions that are no function where they are set as text, as in `5^{\\text{th}}`."""


def resolve(found: list[Token]) -> list[Token]:
    """The tokens with every run of letters resolved as a word, a function, a name, or a product of letters."""
    if not any(token.kind == "run" for token in found):
        return found
    found = [_foreign_joiner(found, index) for index in range(len(found))]
    sure = [
        token.kind == "run" and _is_word(token, found[index - 1] if index else None)
        for index, token in enumerate(found)
    ]
    for step in (1, -1):  # a short run beside a word is a word, too
        order = range(len(found)) if step == 1 else range(len(found) - 1, -1, -1)
        for index in order:
            near = index - step
            if sure[index] or found[index].kind != "run" or not 0 <= near < len(found) or not sure[near]:
                continue
            if found[near].text.lower() in _LINKS or found[near].upright != found[index].upright:
                continue
            apart = found[max(index, near)].gap
            sure[index] = apart and len(found[index].text) > 1 and found[index].text not in macros.FUNCTIONS
    for index, token in enumerate(found[:-1]):
        if token.kind == "run" and token.text in ("a", "A") and sure[index + 1] and found[index + 1].gap:
            sure[index] = found[index + 1].text.lower() not in AND | OR | EQUALS | CONDITIONS
    resolved: list[Token] = []
    for token, word in zip(found, sure, strict=True):
        if (
            token.kind == "run"
            and (glued := _GLUED_JOINER.fullmatch(token.text))
            and resolved
            and resolved[-1].kind == "number"
        ):
            resolved += [token._replace(kind="word", text=glued[1]), token._replace(kind="letter", text=glued[2])]
        elif token.kind == "run":
            resolved += [token._replace(kind="word")] if word else _letters(token)
        else:
            resolved.append(token)
    return resolved


def _foreign_joiner(found: list[Token], index: int) -> Token:
    """The token, or the English word for a short joiner such as `et` between two numbers."""
    token = found[index]
    if token.kind != "run" or token.text not in _SHORT_JOINERS or not 0 < index < len(found) - 1:
        return token
    apart = token.gap and found[index + 1].gap and found[index - 1].kind == found[index + 1].kind == "number"
    return token._replace(text=_SHORT_JOINERS[token.text]) if apart else token


def _is_word(token: Token, before: Token | None) -> bool:
    text = token.text
    if token.upright and text in _ENDINGS:
        return True
    if text in macros.FUNCTIONS or text == "pi" or text.lower() in ("infinity", "infty", "oo"):
        return False
    if not text.isascii():
        return True
    if token.upright:
        return len(text) > 1
    if (text.lower() in _PLAIN_WORDS and len(text) > 1) or text == "Rs":
        return True
    if len(text) > 1 and (text.isupper() or "'" in text):
        return True
    if len(text) > 1 and is_unit(text) and before is not None and _ends_value(before):
        return True
    if text in macros.GREEK or text in ("infinity", "inf", "oo", "emptyset"):
        return False
    if _function_prefix(text):
        return False
    titled = text[0].isupper() and text[1:].islower()
    return len(text) >= _PROSE_LETTERS or (titled and len(text) == _PROSE_LETTERS - 1)


def _ends_value(token: Token) -> bool:
    return token.kind == "number" or token.text in (")", "}", "pi", "/", "*", "word")


def _function_prefix(text: str) -> str:
    """The function that begins a short run such as `sinx`, or an empty string."""
    for name in ("sin", "cos", "tan", "cot", "log", "ln", "sqrt"):
        if text.startswith(name) and len(text) <= len(name) + 1:
            return name
    return ""


def _letters(token: Token) -> list[Token]:
    """A run that is no word as a function, a name such as `pi`, or its single letters."""
    text = token.text
    if text in macros.FUNCTIONS:
        return [token._replace(kind="function", text=macros.FUNCTIONS[text])]
    if text.lower() in ("infinity", "oo", "infty") or text == "inf":
        return [token._replace(kind="letter", text="infty")]
    if text in macros.GREEK:
        return [token._replace(kind="letter", text=macros.LETTER_NAMES.get(text, text))]
    if name := _function_prefix(text):
        rest = [token._replace(kind="letter", text=letter, gap=False) for letter in text[len(name) :]]
        return [token._replace(kind="function", text=name), *rest]
    first, *rest = text
    return [
        token._replace(kind="letter", text=first),
        *(token._replace(kind="letter", text=letter, gap=False) for letter in rest),
    ]
