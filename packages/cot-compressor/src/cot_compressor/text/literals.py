r"""Patterns of literals, which mean nothing in part: addresses, paths, versions, dates, code, JSON, tags, table rows.

`tokens.py` reads each as one token, so it is kept or dropped whole. Formulas are no literals; `formulas.py` finds them.

>>> re.compile(LITERAL, re.VERBOSE).findall("10.24.8.17 runs v4.12.3, see `a b` and <answer>4</answer>")
['10.24.8.17', 'v4.12.3', '`a b`', '<answer>4</answer>']
"""

import re
from collections.abc import Iterator

_MONTH = (
    r"(?:Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)|Apr(?:il|\.)|May|June?|July?|Aug(?:ust|\.)|"
    r"Sep(?:tember|t?\.)|Oct(?:ober|\.)|Nov(?:ember|\.)|Dec(?:ember|\.))"
)
_ZONE = r"(?:Z|UTC|GMT|CES?T|[ECMP][SD]T|BST|IST|JST)(?:[+-]\d{1,2})?(?![A-Za-z])"
_CLOCK = r"\d{1,2}:[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
_HALF_DAY = r"(?:[ap]\.m\.|[apAP][mM](?![A-Za-z]))"
_CODE = r"(?:``[^`\n]{1,400}``|`[^`\n]{1,400}`)(?!`)"
_TAG = r"<(?:[A-Za-z][\w-]{0,40})(?:\ [\w-]{1,20}=[^<>\n]{0,80})?/?>(?:[^<>]{0,160}</[A-Za-z][\w-]{0,40}>)?"
_VALUE = r"[^{}\[\]\n]{0,400}"
_JSON = (
    rf"\{{\s?(?=[\"'])(?:{_VALUE}(?:\{{{_VALUE}\}}|\[{_VALUE}\])){{0,12}}{_VALUE}\}}"
    rf"|\[\s?(?=[\"'{{])(?:{_VALUE}\{{{_VALUE}\}}){{0,12}}{_VALUE}\]"
)
_ADDRESS_CHARACTER = r"[^\s<>\"'`|\\)\]}，。；、！？）】」]"
_DIGIT_LITERALS = (
    rf"\d{{4}}-\d\d-\d\d(?:[T\ ]{_CLOCK}(?:\ ?{_ZONE}|[+-]\d\d:?\d\d)?)?",
    r"\d+(?:\.\d+){2,}(?::\d+|[\w-]+)?",
    rf"{_CLOCK}(?:\ ?(?:{_HALF_DAY}|{_ZONE})|[+-]\d\d:\d\d)",
    r"\d{1,2}:[0-5]\d:[0-5]\d(?:\.\d{1,9})?",
    rf"\d{{1,2}}\ ?{_HALF_DAY}",
    r"\d{1,2}/\d{1,2}/\d{4}(?!\d)",
    rf"\d{{1,2}}(?:st|nd|rd|th)?\ {_MONTH}(?![A-Za-z])(?:,?\ \d{{4}}(?!\d))?",
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    r"0x[0-9A-Fa-f]+(?![\w])",
)
_LETTER_LITERALS = (
    rf"(?:https?|ftp|file|ssh|git|s3)://{_ADDRESS_CHARACTER}{{0,400}}(?<![.,;:!?*])",
    rf"www\.{_ADDRESS_CHARACTER}{{1,400}}(?<![.,;:!?*])",
    rf"{_MONTH}\ \d{{1,2}}(?:st|nd|rd|th)?(?!\w|\.\d|\s?[=+*/<>])(?:,\ \d{{4}}(?!\d))?",
    r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[A-Za-z][\w-]*){1,6}",
    r"(?:[A-Za-z_][\w.-]{0,60}/){1,12}[\w.-]{1,60}\.[A-Za-z][A-Za-z0-9]{0,4}(?!\w)",
    r"(?:[A-Za-z_][\w.-]{0,60}/){2,12}(?:[\w-]+(?:\.\w+)*)?",
    r"[A-Za-z_][\w.-]{1,60}/(?=[\s,.;:)?!]|\Z)",
    r"[A-Za-z]:\\(?:[\w.-]+\\)*[\w.-]*\w",
    r"[A-Za-z_]\w*(?:\.[a-z_]\w+)+(?:\(\))?",
    r"v\d+(?:\.\d+)+(?:-[\w.]*\w)?",
    r"[A-Za-z]{2,20}\d{0,6}-\d\w*(?:-\w+|/[A-Z]+\d*)*(?![-\w])(?!\s?[=+*/<>])",
    r"[A-Za-z][\w-]{1,40}==\d+(?:\.\d+)+\w*",
    r"[A-Za-z]{2,20}\d+(?:\.\d+)+(?!\w|\s?[=+*/^<>-])",
    r"(?:[Oo]ption|[Cc]hoice|[Aa]nswer)(?:\ is|:)?\ (?:\*\*)?\(?[A-HJ](?![\w'’])\)?(?:\*\*)?(?!\s?[=+*/<>-])",
)
_MARK_LITERALS = (
    _CODE,
    _JSON,
    _TAG,
    r"</[A-Za-z][\w-]{0,40}>",
    r"<\|[^|>\n]{1,40}\|>",
    r"\#\d+(?!\w)",
    r"--[a-z][\w-]*(?:=[\w./-]+)?",
    r"(?:~|\.{1,2})?/(?:[A-Za-z_.][\w.-]*/)*[A-Za-z_][\w-]*(?:\.\w+)*/?",
    r"\([A-HJ]\)(?!\s?[=+*/^<>-])",
    r"!?\[[^\[\]\n]{0,80}\]\(https?://[^\s()]{1,400}\)",
)
LITERAL = (
    rf"(?<![\w.\\/])(?=\d)(?:{'|'.join(_DIGIT_LITERALS)})"
    rf"|(?<![\w.\\/@])(?=[A-Za-z_])(?:{'|'.join(_LETTER_LITERALS)})"
    rf"|(?<![\w)\]}}\\/=$])(?=[`{{\[<\#/~.(!-])(?:{'|'.join(_MARK_LITERALS)})"
)
"""A verbose pattern of one literal; it begins at the begin of a word, number or mark."""
_ROW = re.compile(r"^[^\S\n]*(\|[^\n]*\|)[^\S\n]*$", re.MULTILINE)
_FEWEST_MARKS = 3
_LONGEST_ANSWER, _LONGEST_TAIL = 1500, 80
_FINAL_JSON = re.compile(
    rf"""
    ^[^\S\n]*(?: ```\w*\s*\n\s*[\[{{][^`]*[\]}}]\s*\n[^\S\n]*``` | (`?)(?:\[\s?)?\{{\s?["'][^\n]*[\]}}]\1 )
    (?=[^\S\n]*(?:\n\s*[^\n]{{0,{_LONGEST_TAIL}}})?\Z)
    """,
    re.MULTILINE | re.VERBOSE,
)


def final_json(text: str) -> tuple[int, int] | None:
    r"""Span of the JSON, fenced or on one line, that ends a text but for a short line; None if there is none.

    >>> final_json('so it is:\n{"x": 1}\nDone.')
    (10, 18)
    """
    text = text.rstrip()
    found = _FINAL_JSON.search(text, max(0, len(text) - _LONGEST_ANSWER))
    return found.span() if found else None


def table_rows(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans of the rows of Markdown tables in a part of a text: at least two lines in a row between bars."""
    previous: tuple[int, int] | None = None
    open_table = False
    for match in _ROW.finditer(text, start, end) if "|" in text else ():
        row = match.span(1)
        if text.count("|", *row) < _FEWEST_MARKS:
            continue
        follows = (
            previous is not None
            and text[previous[1] : row[0]].strip() == ""
            and text.count("\n", previous[1], row[0]) == 1
        )
        if follows and previous is not None and not open_table:
            yield previous
        if follows:
            yield row
        open_table, previous = follows, row
