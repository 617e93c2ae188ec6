"""Cuts a text into tokens: words, variables, numbers, operators, brackets, and formulas between LaTeX delimiters.

Types of tokens: W word, V variable, N number, L LaTeX command or function with a subscript, R relation sign, O
operator, A opening bracket, Z closing bracket, S superscript digits, E dots, P and P1 other signs, M a formula between
delimiters or a line of code. Joining tokens into formulas is left to `formulas.py`, and into units to `segment.py`.

>>> tokenise("so 12 + x").types
['W', 'N', 'O', 'V']
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from .latex import delimited_spans


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
_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Kana and ideographs: no space separates them from a formula, so they never share a word with other letters."""
_LETTER = rf"[^\W\d_₀-₉²³¹⁰⁴-⁹{_CJK}]"
_INSIDE = rf"(?:[^\W{_CJK}]|[{_MARK}])"
_RELATIONS = "leqslant|geqslant|leq?|geq?|neq?|approx|equiv|lt|gt|in|sim|cong|propto"
_OPERATIONS = "times|cdot|div|pm|mp|cup|cap|bmod"
_SIZE = r"\\(?:left|right|[bB]igg?[lr]?)\ ?"
_SUBSCRIPT = rf"_(?:[^\W{_CJK}]+|\{{[^{{}}\n]{{1,24}}\}})"
_TOKEN = re.compile(
    rf"""
(?: (?P<L> \\(?!(?:{_RELATIONS}|{_OPERATIONS})(?![A-Za-z])) (?!{_SIZE[2:]}[(\[{{)\]}}]) [A-Za-z]+
       | (?:log|lim|sum|prod|max|min){_SUBSCRIPT} (?:\^(?:\w+|\{{[^{{}}\n]{{1,24}}\}}))? )
| (?P<W> [A-Za-z]{{2,}} (?=[\ ,.])  # a fast path for most words
       | (?: {_LETTER} (?:{_LETTER}|[{_MARK}]) {_INSIDE}* | {_LETTER} (?=['’]{_LETTER}|-{_LETTER}{{2}}) )
         (?: ['’-] {_LETTER} {_INSIDE}* )*
       | [{_CJK}]+
       | \d+ (?:(?:st|nd|rd|th)\b(?!-{_LETTER}) | (?:st|nd|rd|th)?(?:-{_LETTER}{{2,}})+(?![\w(]))
       | (?:{_LETTER}\.){{2,}} )
| (?P<N> (?:\\?[$€£¥]\ ?)? (?: (?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+) (?:\.\d+)? (?::\d+)? | (?<![\w.])\.\d+ )
         (?:\\?%|°)? )
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
_LINE = re.compile(r"\S(?:[^\n]*\S)?")


def _whole_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of delimited math and of lines in fenced code blocks, in order; a fence without an end is no block."""
    fences = [match.span() for match in _FENCE.finditer(text)] if "```" in text else []
    blocks = [(opener[1], closer[0]) for opener, closer in zip(fences[::2], fences[1::2], strict=False)]
    position = 0
    for code, code_end in [*blocks, (len(text), len(text))]:
        prose = text[position:code] if blocks else text
        if "\\" in prose or "$" in prose:
            yield from ((start + position, end + position) for start, end in delimited_spans(prose))
        yield from (match.span() for match in _LINE.finditer(text, code, code_end))
        position = code_end


def tokenise(text: str) -> Tokens:
    """All tokens; delimited math and lines of code are single tokens of type M."""
    types: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    spans = [*_whole_spans(text), (len(text), len(text))]
    for low, high in spans:
        for match in _TOKEN.finditer(text, position, low):
            kind = match.lastgroup or "P"
            types.append(kind)
            start, end = match.span(kind)
            starts.append(start)
            ends.append(end)
        if high > low:
            types.append("M")
            starts.append(low)
            ends.append(high)
        position = high
    return Tokens(text, types, starts, ends)
