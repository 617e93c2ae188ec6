"""Cuts a chain of thought into units: formulas, numbers, words, punctuation.

A unit is the smallest part of a text that can be kept or dropped. A formula is one unit, however long it is, and so are
a line of a fenced code block and a negation with the words it negates (`negations.py`). Units are sorted and disjoint,
and cover all text but white space. One pass finds formulas between LaTeX delimiters, one pass cuts the rest into
tokens, and `formulas.py` joins tokens into plain-text formulas; each takes linear time. Ranking units is left to the
scorers.

>>> [unit.kind for unit in segment("12 + 15 = 27. Check it")]
['math', 'punctuation', 'word', 'word']
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from typing import Literal, NamedTuple

from .formulas import FUNCTIONS, FormulaFinder, Tokens
from .negations import NEGATIONS, OPENERS, OPERATIONS, end_of_modifiers

Kind = Literal["math", "number", "word", "punctuation"]


class Unit(NamedTuple):
    """One indivisible part of a text."""

    start: int
    """Offset of the first character."""
    end: int
    """Offset after the last character."""
    kind: Kind
    """`"math"`, `"number"`, `"word"` or `"punctuation"`."""
    step: int
    """Index, from 0, of the sentence or line that the unit belongs to."""


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

_OPENER = re.compile(
    r"(?P<escape>\\[\\$%])|(?P<dollar>\$\$?)|\\(?P<bracket>[(\[])"
    r"|\\begin\{(?P<environment>[A-Za-z]{1,24}\*?)\}|\\(?P<command>[A-Za-z]{1,24})(?=[{\[])"
)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_ENVIRONMENT = re.compile(r"\\(?P<side>begin|end)\{(?P<name>[A-Za-z]{1,24}\*?)\}|\n[^\S\n]*\n")
_BRACE = re.compile(r"\\.|[{}]|\n[^\S\n]*\n", re.DOTALL)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}\s+[A-Za-z]{2,}")
_CALCULATOR = "<<"
"""The beginning of GSM8K's calculator marks: `5 * $2 = $<<5*2=10>>10`."""
_FENCE = re.compile(r"^[^\S\n]*```[^\n]*$", re.MULTILINE)
_LINE = re.compile(r"\S(?:[^\n]*\S)?")
_TAKE_FORMULAS = NEGATIONS | OPERATIONS
_KINDS: dict[str, Kind] = {"M": "math", "N": "number", "W": "word", "V": "word", "L": "math"}


class _Delimited:
    """Finds formulas between LaTeX delimiters; every look-ahead is remembered, so the time is linear."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.blanks = [match.start() for match in _BLANK_LINE.finditer(text)]
        self.next_found: dict[str, int] = {}
        self.environments = self._match_environments()
        self.braces = self._match_braces()

    def _match_braces(self) -> dict[int, int]:
        """Offset of each opening brace -> offset of its closing brace, within one paragraph."""
        pairs: dict[int, int] = {}
        stack: list[int] = []
        if "\\" in self.text:
            for match in _BRACE.finditer(self.text):
                if match[0] == "{":
                    stack.append(match.start())
                elif match[0] == "}":
                    if stack:
                        pairs[stack.pop()] = match.start()
                elif match[0][0] == "\n":
                    stack.clear()
        return pairs

    def _match_environments(self) -> dict[int, int]:
        r"""Offset of each `\begin{…}` -> offset after its `\end{…}`, within one paragraph."""
        pairs: dict[int, int] = {}
        stack: list[tuple[str, int]] = []
        for match in _ENVIRONMENT.finditer(self.text) if "\\begin{" in self.text else ():
            if match["side"] == "begin":
                stack.append((match["name"], match.start()))
            elif match["side"] is None:
                stack.clear()
            elif stack and stack[-1][0] == match["name"]:
                pairs[stack.pop()[1]] = match.end()
        return pairs

    def _find(self, needle: str, start: int) -> int:
        """`text.find(needle, start)` for rising `start`; each part of the text is searched once."""
        found = self.next_found.get(needle, 0)
        if 0 <= found < start or needle not in self.next_found:
            found = self.next_found[needle] = self.text.find(needle, start)
        return found

    def _in_paragraph(self, start: int, end: int) -> bool:
        at = bisect_left(self.blanks, start)
        return at == len(self.blanks) or self.blanks[at] >= end

    def _closed(self, needle: str, start: int) -> int:
        """End of the span that begins before `start` and ends with `needle` in the same paragraph, or -1."""
        found = self._find(needle, start)
        return found + len(needle) if found >= 0 and self._in_paragraph(start, found) else -1

    def _dollar_end(self, opener: int) -> int:
        """End of a formula between dollar signs, or -1.

        Pandoc's rule, with two additions: the closing dollar is the very next one, and a dollar before `<<`, or before
        a digit with prose after it, is a currency sign.
        """
        text = self.text
        start = opener + 1
        if start >= len(text) or text[start].isspace() or text.startswith(_CALCULATOR, start):
            return -1
        end = self._find("$", start)
        while end > 0 and text[end - 1] == "\\":
            end = self._find("$", end + 1)
        if end <= start or text[end - 1].isspace() or not self._in_paragraph(start, end):
            return -1
        if text[end + 1 : end + 2].isdigit() or text.startswith(_CALCULATOR, end + 1):
            return -1
        if text[start].isdigit() and "\\" not in (inside := text[start:end]) and _PROSE.search(inside):
            return -1
        return end + 1

    def _arguments_end(self, start: int) -> int:
        """End of the brace groups that follow a command, the first perhaps after a group in square brackets."""
        text = self.text
        position, groups = start, 0
        if text[position] == "[":
            close = text.find("]", position, position + 40)
            position = close + 1 if close > 0 else position
        while position in self.braces:
            position = self.braces[position] + 1
            groups += 1
        return position if groups else -1

    def spans(self) -> Iterator[tuple[int, int]]:
        """Spans of delimited math, in order."""
        position = 0
        while match := _OPENER.search(self.text, position):
            end = -1
            if match["dollar"] == "$$":
                end = self._closed("$$", match.end())
            elif match["dollar"]:
                end = self._dollar_end(match.start())
            elif match["bracket"]:
                end = self._closed("\\)" if match["bracket"] == "(" else "\\]", match.end())
            elif match["environment"]:
                end = self.environments.get(match.start(), -1)
            elif match["command"]:
                end = self._arguments_end(match.end())
            if end > 0:
                yield match.start(), end
                position = end
            else:
                position = match.end()


def _whole_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of delimited math and of lines in fenced code blocks, in order; a fence without an end is no block."""
    fences = [match.span() for match in _FENCE.finditer(text)] if "```" in text else []
    blocks = [(opener[1], closer[0]) for opener, closer in zip(fences[::2], fences[1::2], strict=False)]
    position = 0
    for code, code_end in [*blocks, (len(text), len(text))]:
        prose = text[position:code] if blocks else text
        if "\\" in prose or "$" in prose:
            yield from ((start + position, end + position) for start, end in _Delimited(prose).spans())
        yield from (match.span() for match in _LINE.finditer(text, code, code_end))
        position = code_end


def _tokenise(text: str) -> Tokens:
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


def _unit_at(tokens: Tokens, finder: FormulaFinder, at: int) -> tuple[int, Kind]:
    """(token after the unit that begins at token `at`, its kind)."""
    types = tokens.types
    kind = types[at]
    if kind != "W":
        return finder.formula_at(at) or (at + 1, _KINDS.get(kind, "punctuation"))
    word = tokens.text[tokens.starts[at] : tokens.ends[at]]
    opens = at + 1 < len(types) and (types[at + 1] in {"R", "O", "A"} or word in FUNCTIONS)
    if opens and (formula := finder.formula_at(at)):
        return formula
    if word in OPENERS:
        return _phrase_at(tokens, finder, at)
    return at + 1, "word"


def _phrase_at(tokens: Tokens, finder: FormulaFinder, at: int) -> tuple[int, Kind]:
    """A negation or comparison with the words after it; a formula joins negations and operations only."""
    modifiers_end = end_of_modifiers(finder, at)
    target = finder.after_marks(modifiers_end, brackets=finder.token(modifiers_end - 1) in NEGATIONS)
    if modifiers_end > at and tokens.types[target : target + 1] == ["R"]:
        target += 1
    if modifiers_end > at and finder.near(target):
        stop, kind = _unit_at(tokens, finder, target)
        if kind in {"word", "number"} or (kind == "math" and finder.token(at) in _TAKE_FORMULAS):
            return finder.marks_closed(at + 1, target, stop), kind
    return max(modifiers_end, at + 1), "word"


def segment(text: str) -> list[Unit]:
    """Cut `text` into units.

    Steps are sentences or lines: a new step begins after a line break, and after `.`, `?` or `!` before a space.

    Returns:
        The units in order. They cover every character that is not white space; a blank text has none.
    """
    tokens = _tokenise(text)
    types, starts, ends = tokens.types, tokens.starts, tokens.ends
    finder = FormulaFinder(tokens)
    units: list[Unit] = []
    step = at = previous = 0
    count = len(types)
    next_break = -1
    sentence_end = False
    while at < count:
        start = starts[at]
        new_line = False
        if start > next_break:
            new_line = text.find("\n", previous, start) >= 0
            found = text.find("\n", start)
            next_break = found if found >= 0 else len(text)
        if start > previous and (sentence_end or new_line) and units:
            step += 1
        stop, shape = _unit_at(tokens, finder, at)
        previous = ends[stop - 1]
        units.append(Unit(start, previous, shape, step))
        sentence_end = shape == "punctuation" and text[previous - 1] in ".?!"
        at = stop
    return units
