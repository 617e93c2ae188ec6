r"""One spelling for answers that differ only in typography, and the parts of an answer that are not its value.

`normalise` removes wrappers and spacing commands and unifies digit grouping and fractions. The other functions split
off names, choices and words. Comparing is left to `exact`.

>>> print(normalise(r"$\dfrac12$"))
\frac{1}{2}
>>> split_name(r"x \in [-2,7]"), words(r"\text{(C)}")
(('x', '[-2,7]'), ['C'])
"""

import re
from functools import lru_cache

_SIGNS = {"\u2212": "-", "\u2013": "-", "\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u00b1": r"\pm ", "\u00a0": " "}
_LETTERS = {"\u03c0": r"\pi ", "\u221e": r"\infty ", "\u222a": r"\cup "}
_CHARS = {**{0xFF01 + i: 0x21 + i for i in range(94)}, **str.maketrans(_SIGNS | _LETTERS)}
_WRAPPED = re.compile(r"\\\((.*)\\\)|\\\[(.*)\\\]|\$\$(.*)\$\$|\$(.*)\$|\*\*(.*)\*\*", re.DOTALL)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{(.*)\}", re.DOTALL)
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:left|right|displaystyle|textstyle|bigl?|bigr|limits)(?![A-Za-z])", ""),
        (r"\{,\}", ","),
        (r"(?<=\d),\\!\s*(?=\d{3})", ","),
        (r"(?<=\d)\\[,!:; ](?=\d{3}(?!\d))", ","),
        (r"(?<=\d)[\u2009\u202f\u00a0](?=\d{3}(?!\d))", ","),
        (r"(?<!\\)\\[,!:;>](?![A-Za-z])|\\q?quad(?![A-Za-z])|(?<!\\)\\ |~", " "),
        (r"\\mbox(?![A-Za-z])|\\textbf(?![A-Za-z])|\\mathrm(?![A-Za-z])|\\textrm(?![A-Za-z])", r"\\text"),
        (r"\\([$%])", r"\1"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])|°", r" \\text{degrees}"),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"\\frac\s*\{([^{}]*)\}\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\sqrt\s*(\d)", r"\\sqrt{\1}"),
        (r"([_^])\{(\w)\}", r"\1\2"),
        (r"\\(?:ldots|dots|cdots)(?![A-Za-z])", "..."),
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset"),
        (r"\\langle(?![A-Za-z])", "("),
        (r"\\rangle(?![A-Za-z])", ")"),
        (r"(?<![A-Za-z\\])[Ii]nfinity(?![A-Za-z])", r"\\infty "),
        (r"^(?:[Nn]egative|[Mm]inus) (?=\d)", "-"),
        (r"\\(?:le|leq)(?![A-Za-z])", r"\\leq "),
        (r"\\(?:ge|geq)(?![A-Za-z])", r"\\geq "),
        (r"\*\*", "^"),
        (r"(?<=\d) x 10\^\{?([-+]?\d+)\}?", r" \\times 10^{\1}"),
    )
)
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_NUMBER_WORDS = {name: str(number) for number, name in enumerate(_NUMBERS.split())}
_CHOICE = re.compile(r"(?:\\text\s*\{\s*\(([A-J])\)\s*\}|\(([A-J])\)(?= ))\s*(\S.*)")
_SPACED_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_SCIENTIFIC = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))[eE]([-+]?\d+)")
_SPACES = re.compile(r"[ \t\r\n]+")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_SPACE_AROUND = re.compile(r"\s*([^\w\s])\s*|(?<=[^\d\s])\s+(?=\S)|(?<=\S)\s+(?=[^\d\s])")
_NAME = re.compile(r"\s*([A-Za-z](?:_\w)?)\s*(?:=|\\in(?![A-Za-z]))\s*")
_WORD = re.compile(r"[A-Za-z]{2,}")
_OPTION = re.compile(r"(?:option|choice) (?=\(?[A-J]\)?\.?$)", re.IGNORECASE)
_FUNCTIONS = {"pi", "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "mod", "infinity", "inf"}
_JOINERS = {"and", "or", "to", "times", "plus", "minus", "over", "base", "choose", "factorial", "squared", "cubed"}
_PARTS = {"half", "halves", "quarter", "quarters", "percent"}
_ORDINAL = re.compile(r"(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twelfth|hundredth|thousandth)s?")
_MULTIPLIERS = {"dozen", "score", "hundred", "thousand", "million", "billion", "trillion"}
_MATHEMATICAL = _FUNCTIONS | _JOINERS | _PARTS | _MULTIPLIERS


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """The answer without wrappers and in one spelling; spaces that may have a meaning are kept."""
    text = _SPACES.sub(" ", text.translate(_CHARS)).strip()
    for pattern in (_WRAPPED, _BOX, _WRAPPED):
        if wrapped := pattern.fullmatch(text):
            text = next((group for group in wrapped.groups() if group is not None), "").strip()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = text.strip().rstrip("\\ ").removesuffix(".").strip()
    if _SPACED_THOUSANDS.fullmatch(text):
        text = text.replace(" ", ",")
    if (number := _TEXT.sub(r"\1", text).strip().lower()) in _NUMBER_WORDS:
        return _NUMBER_WORDS[number]
    if scientific := _SCIENTIFIC.fullmatch(text):
        return rf"{scientific[1]}\cdot 10^{{{scientific[2]}}}"
    return text[1:].strip() if text.startswith("$") else re.sub(r"^-\s*\$\s*", "-", text)


def squeeze(text: str) -> str:
    r"""The text without `\text{}` wrappers and without spaces, except those between digits and words."""
    text = _TEXT.sub(r" \1 ", text).strip()
    return _SPACE_AROUND.sub(lambda match: match.group(1) or "", " ".join(text.split()))


def split_name(text: str) -> tuple[str, str]:
    r"""The name before a leading `=` or `\in` ("" without one), and the rest."""
    match = _NAME.match(text)
    return (match[1], text[match.end() :]) if match else ("", text)


def split_choice(text: str) -> tuple[str, str] | None:
    r"""The letter and the value of a choice such as `\textbf{(B)}\ 12`, or None."""
    match = _CHOICE.fullmatch(text)
    return (match[1] or match[2], match[3]) if match else None


def is_mathematical(word: str) -> bool:
    """Whether a word in lower case changes a value: a function, a fraction, a multiple."""
    return word in _MATHEMATICAL or _ORDINAL.fullmatch(word) is not None


def words(text: str) -> list[str] | None:
    r"""The words of a name or choice such as `\text{Evelyn}` or `(C)`, in lower case; None for any other text.

    A single capital letter is a choice and keeps its case. A single lower-case letter may be a variable, so the result
    is None.
    """
    bare = _OPTION.sub("", _TEXT.sub(r"\1", text).strip()).strip("().").strip()
    if len(bare) == 1 and bare.isascii() and bare.isupper():
        return [bare]
    found = bare.split()
    if not found or not all(_WORD.fullmatch(word) and not is_mathematical(word.lower()) for word in found):
        return None
    return [word.lower() for word in found]
