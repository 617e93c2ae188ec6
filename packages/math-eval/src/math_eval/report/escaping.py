r"""Text of strangers in a report: one function for each medium, so that text stays text everywhere.

Names, notes, fields, settings and completions all pass one of these; numbers need none. Text for a terminal is left to
`_shared.terminal`.

>>> html("<script>"), markdown_text("[a](b) <i>"), csv_cell("=1+1")
('&lt;script&gt;', '\\[a\\](b) &lt;i>', "'=1+1")
"""

import re
from html import escape

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_MARKDOWN = re.compile(r"[\\`*|\[\]]")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def html(text: str) -> str:
    """The text for HTML and SVG, also within quotes; control characters and lone surrogates become U+FFFD."""
    return escape(_UNPRINTABLE.sub("\ufffd", text), quote=True)


def markdown_text(text: str) -> str:
    """The text for one line of Markdown: no markup, no HTML, no cell of a table."""
    inert = _MARKDOWN.sub(r"\\\g<0>", _ENTITY.sub("&amp;", text)).replace("<", "&lt;")
    return _UNPRINTABLE.sub("\ufffd", " ".join(inert.splitlines()))


def csv_cell(text: str) -> str:
    """The text for a cell, quoted if a spreadsheet would take it for a formula."""
    text = _UNPRINTABLE.sub("\ufffd", text)
    return f"'{text}" if text.startswith(_FORMULA) else text
