r"""Finds formulas between LaTeX delimiters: `$x$`, `\(x\)`, `\[x\]`, environments, and commands with arguments.

A dollar sign may also be a currency sign, so a formula between dollars ends before the next paragraph and contains no
prose. Formulas in plain text are found in `formulas.py`.

>>> text = r"so \(x = 3\), \boxed{4} and $5"
>>> [text[start:end] for start, end in delimited_spans(text)]
['\\(x = 3\\)', '\\boxed{4}']
"""

import re
from bisect import bisect_left
from collections.abc import Iterator

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


def delimited_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the formulas between delimiters, in order."""
    return _Delimiters(text).spans()


class _Delimiters:
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
