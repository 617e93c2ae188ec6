r"""Cuts a formula that is larger than the whole budget: between its lines, and before later `=` signs of a chain.

This is used only for a text of which otherwise nothing could be kept. A single equation is never cut, and brackets,
braces, fractions and nested environments stay whole. Choosing the formulas, and reporting them to the user, is left to
`compressor.py`.

>>> text = "so 2(a = b) = 3 = 4 = 5"
>>> [text[start:end] for start, end in split_formula(text, 3, len(text))]
['2(a = b) = 3', '= 4', '= 5']
"""

import re

from cot_compressor.text.render import Span

_OPENING = re.compile(r"(?:\$\$?|\\\[|\\\(|\\begin\{[^}\n]*\}|\s)*")
_MARK = re.compile(
    r"(?P<line>\\\\)|(?P<open>\\begin\b|[({\[])|(?P<close>\\end\b|[)}\]])|\\.|(?P<equals>&?(?<![<>!:=])=(?!=))",
    re.DOTALL,
)


def split_formula(text: str, start: int, end: int) -> list[Span]:
    """Spans of the parts of the formula `text[start:end]`, in order; one span if it cannot be cut."""
    opening = _OPENING.match(text, start, end)
    position = opening.end() if opening else start
    cuts = [start]
    depth = equals = 0
    for match in _MARK.finditer(text, position, end):
        if match["open"]:
            depth += 1
        elif match["close"]:
            depth -= 1
        elif depth <= 0 and match["line"]:
            cuts.append(match.end())
            equals = 0
        elif depth <= 0 and match["equals"]:
            equals += 1
            if equals > 1:
                cuts.append(match.start())
    parts: list[Span] = []
    for low, high in zip(cuts, [*cuts[1:], end], strict=True):
        part = text[low:high]
        if part.strip():
            parts.append((low + len(part) - len(part.lstrip()), low + len(part.rstrip())))
    return parts
