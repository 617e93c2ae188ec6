r"""Tokens of an answer: numbers, letters, words, functions, macros and marks, the same for LaTeX, text and Unicode.

Style, spacing and size are read away here and nowhere else. A token knows whether space stood before it and whether it
was set as text. What tokens mean together is left to `expression` and `statement`.

>>> [token.text for token in tokenize(r"\dfrac12 \left(x\cdot 1{,}000\right) \text{ cm}")]
['frac', '12', '(', 'x', '*', '1000', ')', 'cm']
"""

import re
from fractions import Fraction

from . import macros
from .characters import unify
from .runs import resolve
from .token import Token

_WIDE = r"\s?\{,\s?\}|,\s?\\!\s*|\\[,!:; ]\s*"
_DIGITS = rf"(?:\d{{1,3}}(?:(?:{_WIDE}|{{comma}})\d{{3}})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_REPEATING = (
    r"(?P<whole>\d*)\.(?P<once>\d*)(?:\\(?:overline|bar)\s*\{\s*(?P<over>\d+)\s*\}|\\(?:overline|bar)\s?(?P<one>\d)"
    r"|(?<=[.\d])\((?P<round>\d+)\)(?![\w(])|\\dot\s?\{?(?P<first>\d)\}?(?:(?P<between>\d*)\\dot\s?\{?(?P<last>\d)\}?)?)"
)
_LATIN = r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_SCIENCE = r"(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+(?![\w.])"
_PIECE = (
    r"(?P<repeating>REPEATING)|(?P<science>SCIENCE)|(?P<number>NUMBER)"
    r"|(?P<clock>(?<=[\d ])[apAP]\.\s?[mM]\.?(?![A-Za-z]))"
    r"|(?P<run>(?:[LATIN]+|[^\W\d_LATIN]+)(?:'(?:t|s|re|ve|ll)(?![^\W\d_]))?)"
    r"|\\(?P<macro>[A-Za-z]+\*?|.)"
    r"|(?P<dots>\.\.\.+)|(?P<mark>\*\*|<=|>=|!=|==|->|:=|\+/-|[^\s\w]|_)|(?P<space>\s+)"
)
_PIECES = {
    (grouped, scientific): re.compile(
        _PIECE.replace("REPEATING", _REPEATING)
        .replace("LATIN", _LATIN)
        .replace("SCIENCE", _SCIENCE if scientific else "(?!)")
        .replace("NUMBER", _DIGITS.replace("{comma}", "," if grouped else "(?!)")),
        re.DOTALL,
    )
    for grouped in (False, True)
    for scientific in (False, True)
}
_MARKS = {"**": "^", "==": "=", "->": "→", ":=": "=", "+/-": "±"}
_TIMES = re.compile(r"(?<=\d)\s?[xX]\s?(?=10\s?(?:\^|\*\*))")
_SPACED_THOUSANDS = re.compile(r"[-+]?\$?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_SHORT_WORD = re.compile(r"\b(sq|cu)\.(?=\s?[A-Za-z])")
_MICRO = re.compile(r"\\mu\s?(?:\\(?:text|mathrm)\s?\{\s?)([msgFCAVWLlH]\b)")
_LOG_BASE = re.compile(r"(10|2)(?=\()")
_QUOTED = re.compile(r"(['*_]{1,2})([^'*_]+)\1")
_ESCAPED = re.compile(r"\\\\([A-Za-z]+|[{}(),;!%$|])")
_DIMENSION = re.compile(r"\s*(?:\*?\s*\{[^{}]*\}|-?[\d.]+\s*(?:mm|cm|pt|em|ex|in|mu|sp|pc)(?![A-Za-z]))")
_ROW_SPACE = re.compile(r"\*?\s*\[\s*-?[\d.]+\s*(?:mm|cm|pt|em|ex|in|mu)\s*\]")
_ENVIRONMENT = re.compile(r"\s*\{\s*([A-Za-z]+\*?)\s*\}")
_COLUMNS = re.compile(r"\s*(?:\[[a-z]\])?\s*(?:\{[^{}]*\})")
_ONE_LETTER = re.compile(
    r"\s*(?:\{\s*(?:\\(?:math(?:bf|rm|it)|vec|boldsymbol)\s*)?\{?\s*(\\?[A-Za-z]+)\s*\}?\s*\}|(\\[A-Za-z]+|[A-Za-z]))"
)
_BLACKBOARD = re.compile(r"\s*\{?\s*([A-Za-z])\s*\}?(?:\s*\^\s*\{?\s*([-+*])\s*\}?)?")
_SHORT_SETS = {"R": "ℝ", "Z": "ℤ", "N": "ℕ", "Q": "ℚ", "C": "ℂ"}
_GLUED = ("qquad", "quad", "cdot", "times", "cup", "cap")
_MAX_DIGITS = 300
_MAX_EXPONENT = 9999


def tokenize(text: str, *, grouped: bool = True, scientific: bool = True) -> list[Token]:
    """The tokens of an answer.

    Args:
        text: The answer.
        grouped: Whether `1,234` is one number; otherwise its comma is a separator.
        scientific: Whether `2e-3` is one number; otherwise it contains Euler's number.
    """
    text = _TIMES.sub("×", unify(text).strip("` \t\n").rstrip("\\ "))
    if "\\\\" in text and r"\begin" not in text:
        text = _ESCAPED.sub(_unescape, text)
    text = re.sub(r"(?<!\*)\*\*(?=\S)([^*]+)(?<=\S)\*\*(?!\*)", r"\1", text) if text.startswith("**") else text
    text = _MICRO.sub(r"\\text{micro\1", _SHORT_WORD.sub(r"\1 ", text.replace("{}", "")))
    if quoted := _QUOTED.fullmatch(text):
        text = quoted[2]
    if _SPACED_THOUSANDS.fullmatch(text):
        text = text.replace(" ", "")
    return _Tokenizer(text, _PIECES[grouped, scientific]).tokens()


def _unescape(match: re.Match[str]) -> str:
    """A macro whose backslash was escaped twice; a row's end before a letter stays."""
    name = match[1]
    return "\\" + name if not name.isalpha() or name in macros.KNOWN else match[0]


class _Tokenizer:
    r"""One pass over a text; the content of `\text{}` is read as text."""

    def __init__(self, text: str, pieces: re.Pattern[str]) -> None:
        self._text = text
        self._pieces = pieces
        self._found: list[Token] = []
        self._gap = False
        self._at = 0
        self._depth = 0
        self._flat = 0
        self._upright: list[int] = []  # depths at which text began
        self._inches = text.count('"') % 2 == 1
        self._unpaired = len(re.findall(r"(?<!\\)\$", text)) % 2 == 1

    def tokens(self) -> list[Token]:
        end = len(self._text)
        while self._at < end:
            match = self._pieces.match(self._text, self._at)
            if match is None:  # a digit or mark of no known kind
                self._add("unknown", self._text[self._at])
                self._at += 1
                continue
            self._at = match.end()
            self._piece(match)
        return resolve(self._found)

    def _add(self, kind: str, text: str, value: Fraction = Fraction(0), places: int = 0) -> None:
        self._found.append(Token(kind, text, self._gap, bool(self._upright), value, places))
        self._gap = False

    def _piece(self, match: re.Match[str]) -> None:
        kind, text = match.lastgroup or "", match.group()
        too_large = kind == "science" and abs(int(re.split("[eE]", text)[1][:7])) > _MAX_EXPONENT
        if too_large or (len(text) > _MAX_DIGITS and kind in ("number", "science", "repeating")):
            self._add("unknown", text)
        elif match["repeating"]:
            self._add("number", text, _repeating_value(match), -1)
        elif kind in ("number", "science"):
            self._number(text)
        elif kind == "run" and text == "log" and (base := _LOG_BASE.match(self._text, self._at)):
            self._at = base.end()
            self._add("function", "log")
            self._add("mark", "_")
            self._number(base[1])
        elif kind == "run":
            self._add("run", text)
        elif kind == "clock":
            self._add("word", text[0].lower() + "m")
        elif kind == "macro":
            self._macro(match["macro"])
        elif kind == "space":
            if "\n" in text and self._depth == 0 and self._found:
                self._add("mark", "newline")
            self._gap = True
        elif kind == "dots":
            self._add("mark", "…")
        elif text == "!=" and not self._gap and self._found and self._found[-1].kind == "number":
            self._add("mark", "!")
            self._add("mark", "=")
        else:
            self._mark(_MARKS.get(text, text))

    def _number(self, text: str) -> None:
        bare = re.sub(r"[^\d.eE+-]", "", text)
        places = len(bare.partition(".")[2])
        self._add(
            "number", bare, Fraction(bare if bare[0] != "." else "0" + bare), 0 if "e" in bare.lower() else places
        )

    def _mark(self, mark: str) -> None:
        if mark == "{":
            self._depth += 1
        elif mark == "}":
            self._depth -= 1
            if self._upright and self._upright[-1] > self._depth:
                self._upright.pop()
                self._gap = self._gap or self._text[self._at - 2 : self._at - 1].isspace()
                return
        elif (mark == "~" or (mark == "&" and self._flat)) or (
            mark == "$" and not (self._unpaired and re.match(r"\s?[\d.]", self._text[self._at : self._at + 2]))
        ):
            self._gap = True
            return
        elif mark in '"`':
            if mark == '"' and self._inches and self._found and self._found[-1].kind == "number" and not self._gap:
                self._add("mark", "'")
                self._add("mark", "'")
            return
        self._add("mark", mark)

    def _macro(self, name: str) -> None:  # noqa: C901 - one branch for each kind of macro
        if name in macros.SKIPPED:
            if name in ("left", "right") and self._text[self._at : self._at + 1] == ".":
                self._at += 1
                if name == "right":
                    self._add("mark", "right.")
        elif name == " " and self._found and self._found[-1].text in ("ℝ", "ℤ", "R"):
            self._add("mark", "∖")
        elif name in macros.SPACES:
            self._gap = self._gap or name not in ("!", "negthinspace")
        elif name in macros.QUADS:
            if self._found:
                self._add("mark", "quad")
            self._gap = True
        elif name in macros.DROPPED or name in macros.COLOURED:
            self._skip(_DIMENSION)
        elif name in macros.TEXTS:
            self._begin_text()
        elif name in macros.SETS:
            self._blackboard()
        elif name in macros.VECTORS:
            self._vector(name)
        elif name in macros.STYLES:
            pass
        elif name in ("begin", "end"):
            self._environment(name)
        elif name in macros.SIGNS:
            sign = macros.SIGNS[name]
            if sign == "row":
                self._skip(_ROW_SPACE)
            self._add("word" if sign in ("and", "or", "mod", "∧", "∨") else "mark", sign)
        elif name in macros.FRACTIONS:
            self._add("macro", "frac")
        elif name in macros.STRUCTURES or name == "sqrt":
            self._add("macro", name.removeprefix("d").removeprefix("t"))
        elif name in macros.ACCENTS:
            self._add("accent", name)
        elif name in macros.BIG and name not in ("sup", "inf"):
            self._add("big", name)
        elif name in macros.FUNCTIONS:
            self._add("function", macros.FUNCTIONS[name])
        elif name in macros.GREEK:
            self._add("letter", macros.LETTER_NAMES.get(name, name))
        elif name in _SHORT_SETS:
            self._add("letter", _SHORT_SETS[name])
        elif name == "not":
            self._negate()
        elif name in ("(", ")", "[", "]"):
            self._gap = True
        elif (prefix := next(filter(name.startswith, _GLUED), "")) != "":
            self._at -= len(name) - len(prefix)
            self._macro(prefix)
        else:
            self._add("unknown", "\\" + name)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self._text, self._at):
            self._at = match.end()

    def _begin_text(self) -> None:
        match = re.compile(r"\s*\{(\s?)").match(self._text, self._at)
        if match is None:
            return
        self._at = match.end()
        self._gap = self._gap or bool(match[1])
        self._depth += 1
        self._upright.append(self._depth)

    def _blackboard(self) -> None:
        if match := _BLACKBOARD.match(self._text, self._at):
            self._at = match.end()
            self._add("letter", _SHORT_SETS.get(match[1], match[1]) + (match[2] or ""))

    def _vector(self, name: str) -> None:
        match = _ONE_LETTER.match(self._text, self._at)
        letter = (match[1] or match[2]).removeprefix("\\") if match else ""
        letter = macros.LETTER_NAMES.get(letter, letter)
        single = len(letter) == 1 or letter in macros.GREEK
        if match and single and (name != "hat" or letter in "ijk"):
            self._at = match.end()
            self._add("vector", letter)
        elif name in ("vec", "hat"):
            self._add("accent", "overrightarrow" if name == "vec" else name)

    def _environment(self, name: str) -> None:
        match = _ENVIRONMENT.match(self._text, self._at)
        if match is None:
            self._add("unknown", "\\" + name)
            return
        self._at = match.end()
        self._depth += 1 if name == "begin" else -1
        if name == "begin" and match[1] in ("array", "alignat", "alignat*"):
            self._skip(_COLUMNS)
        self._flat += (1 if name == "begin" else -1) * (match[1] in macros.FLAT)
        self._add(name, match[1])

    def _negate(self) -> None:
        match = re.compile(r"\s*(?:=|\\(in|equiv)(?![A-Za-z]))").match(self._text, self._at)
        if match is None or match[1] == "equiv":
            self._add("unknown", r"\not")
            return
        self._at = match.end()
        self._add("mark", "∉" if match[1] else "!=")


def _repeating_value(match: re.Match[str]) -> Fraction:
    whole, once = match["whole"] or "0", match["once"]
    if match["first"] is not None:
        again = match["first"] + (match["between"] or "") + (match["last"] or "") if match["last"] else match["first"]
    else:
        again = match["over"] or match["one"] or match["round"]
    return Fraction(f"{whole}.{once}0") + Fraction(int(again), 10 ** len(once) * (10 ** len(again) - 1))
