"""Cuts a text into tokens: words, variables, numbers, operators, brackets, and formulas between LaTeX delimiters.

Types of tokens: W word, V variable, N number, L LaTeX command or function with a subscript, R relation sign, O
operator, A opening bracket, Z closing bracket, S superscript digits, E dots, P and P1 other signs, M a formula between
delimiters or a line of code, C a literal (`literals.py`). Joining tokens into formulas is left to `formulas.py`, and
into units to `segment.py`.

>>> tokenise("so 12 + x").types
['W', 'N', 'O', 'V']
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from .latex import delimited_spans
from .literals import LITERAL, table_rows


class Tokens(NamedTuple):
    """The tokens of a text: their types, and the offsets where they start and end."""

    text: str
    types: list[str]
    starts: list[int]
    ends: list[int]


def _marks() -> str:
    """Combining marks and joiners as the content of a character class: they belong to the letter before them."""
    points = [code for code in range(0x300, 0x10000) if unicodedata.category(chr(code)) in {"Mn", "Mc"}]
    ranges: list[tuple[int, int]] = []
    for code in points:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return "".join(f"\\u{low:04x}-\\u{high:04x}" for low, high in ranges) + "\\u200c\\u200d"


_MARK = _marks()
CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Kana and ideographs: no space separates them from a formula, so they never share a word with other letters."""
_LETTER = rf"[^\W\d_₀-₉²³¹⁰⁴-⁹{CJK}]"
_INSIDE = rf"(?:[^\W{CJK}]|[{_MARK}])"
_RELATIONS = "leqslant|geqslant|leq?|geq?|neq?|approx|equiv|lt|gt|in|sim|cong|propto"
_OPERATIONS = "times|cdot|div|pm|mp|cup|cap|bmod"
_SIZE = r"\\(?:left|right|[bB]igg?[lr]?)\ ?"
_SUBSCRIPT = rf"_(?:[^\W{CJK}]+|\{{[^{{}}\n]{{1,24}}\}})"
_LONG_LITERAL = r"\ \(?[A-HJ]\b|\ \d"
"""What follows a word that may begin a literal of several words, such as `option B` and `May 5`."""
_TOKEN = re.compile(
    rf"""
(?: (?P<F> [A-Za-z]{{2,}} (?=[\ ,]|\.(?:\s|\Z)) (?!{_LONG_LITERAL}))  # a fast path for most words
| (?P<L> \\(?!(?:{_RELATIONS}|{_OPERATIONS})(?![A-Za-z])) (?!{_SIZE[2:]}[(\[{{)\]}}]) [A-Za-z]+
       | (?:log|lim|sum|prod|max|min){_SUBSCRIPT} (?:\^(?:\w+|\{{[^{{}}\n]{{1,24}}\}}))? )
| (?P<C> {LITERAL} )
| (?P<W> (?=[A-Za-z]+\d)(?:[A-Z][a-z]?\d*){{2,}}(?![\w'’-])  # chemical formulas, number plates
       | (?: {_LETTER} (?:{_LETTER}|[{_MARK}]) {_INSIDE}* | {_LETTER} (?=['’]{_LETTER}|-{_LETTER}{{2}}) )
         (?: ['’-] {_LETTER} {_INSIDE}* )*
       | [{CJK}]+
       | \d+ (?:(?:st|nd|rd|th)\b(?!-{_LETTER}) | (?:st|nd|rd|th)?(?:-{_LETTER}{{2,}})+(?![\w(]))
       | (?:{_LETTER}\.){{2,}} )
| (?P<N> (?:\\?[$€£¥]\ ?)? (?: (?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+) (?:\.\d+)? (?::\d+)? | (?<![\w.])\.\d+ )
         (?:\\?%|°|\ %(?!\s?[\d(]))? )
| (?P<V> {_LETTER} (?:{_SUBSCRIPT}|\d+|[₀-₉]+)? (?:'+(?!\w)|′+)? )
| (?P<P1> -+> | =+> | <-+ | (?P<P2>[^\w\s])(?P=P2){{8,}} | ={{3,}} | -{{2,}} | \*{{3,}} | _+ )
| (?P<R> <= | >= | != | == | := | [=＝≈≠<>≤≥≡≅≃∼∈∉⊂⊆∝] | \\(?:{_RELATIONS})(?![A-Za-z]) )
| (?P<O> \*\* | //(?=\s?\d) | [-+−–*×·⋅∙/÷^±∓∪∩] | \\(?:{_OPERATIONS})(?![A-Za-z]) )
| (?P<A> (?:{_SIZE})?[(\[{{] | [⌊⌈] )
| (?P<Z> (?:{_SIZE})?[)\]}}] | [⌋⌉] )
| (?P<S> [²³¹⁰⁴⁵⁶⁷⁸⁹ⁿ]+ )
| (?P<E> \.\.\. | … )
| (?P<P> (?:\\[()\[\]])+
       | [\u2600-\u27bf\U0001f000-\U0001faff]
         (?: [\ufe0f\u20e3\U0001f3fb-\U0001f3ff] | \u200d [\u2600-\u27bf\U0001f000-\U0001faff] )*
       | (?<=[\d)])!(?=[.?!]{{1,32}}(?:\s|\Z)) | [.?!]{{1,32}}(?=\s|\Z) | \S ) ) \s*
""",
    re.VERBOSE,
)
_FENCE = re.compile(r"^[^\S\n]*```[^\n]*$", re.MULTILINE)
_LONG_LINE = 120
_VALUE_END = re.compile(
    r"(?<=[}\])],)\s+|(?<=,)\s+(?=\"[^\"\n]{1,40}\":)|(?<=[\[{;])\s+|(?<=[\[:])\s*(?=[{\[])|(?<=\w;)\s*(?=\w)"
)
_LINE = re.compile(r"\S(?:[^\n]*\S)?")


def code_blocks(text: str) -> list[tuple[int, int]]:
    """Spans of the fenced code blocks, fences included; a fence without an end is no block."""
    fences = [match.span() for match in _FENCE.finditer(text)] if "```" in text else []
    return [(opener[0], closer[1]) for opener, closer in zip(fences[::2], fences[1::2], strict=False)]


def _whole_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Spans and types of what is read before all else: delimited math, lines of code blocks with their fences, rows."""
    position = 0
    for code, code_end in [*code_blocks(text), (len(text), len(text))]:
        yield from _spans_in_prose(text, position, code)
        for match in _LINE.finditer(text, code, code_end):
            if _FENCE.fullmatch(text, *match.span()):
                yield *match.span(), "C"
            else:
                yield from ((start, end, "M") for start, end in _code_pieces(text, *match.span()))
        position = code_end


def _code_pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans of a line of code: the line, or the innermost values and statements of a long one."""
    position = start
    for match in _VALUE_END.finditer(text, start, end) if end - start > _LONG_LINE else ():
        if match.start() > position:
            yield position, match.start()
            position = match.end()
    yield position, end


def _spans_in_prose(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Spans and types of delimited math and of table rows outside code blocks."""
    rows = [*table_rows(text, start, end), (end, end)]
    for low, high in rows:
        prose = text[start:low]
        if "\\" in prose or "$" in prose:
            yield from ((left + start, right + start, "M") for left, right in delimited_spans(prose))
        if high > low:
            yield low, high, "C"
        start = high


def tokenise(text: str) -> Tokens:
    """All tokens; delimited math and lines of code are single tokens of type M, fences and table rows of type C."""
    types: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    spans = [*_whole_spans(text), (len(text), len(text), "")]
    for low, high, whole in spans:
        for match in _TOKEN.finditer(text, position, low):
            kind = match.lastgroup or "P"
            types.append("W" if kind == "F" else kind)
            start, end = match.span(kind)
            starts.append(start)
            ends.append(end)
        if high > low:
            types.append(whole)
            starts.append(low)
            ends.append(high)
        position = high
    return Tokens(text, types, starts, ends)
