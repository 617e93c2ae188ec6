r"""One spelling for characters: Unicode signs as LaTeX, digits of every script as ASCII, invisible characters removed.

Every character of the result is ASCII or a letter of some script. What the characters mean is left to `tokens`.

>>> print(unify("−½π ≤ x² + ３√7"))
-\frac{1}{2} \pi  \le  x^{2}  + 3\unicoderoot 7
"""

import re
import unicodedata

_SIGNS = {
    "\\unicoderoot ": "√", "\\cuberoot ": "∛", "\\fourthroot ": "∜",
    "-": "−–—‐‑‒﹣－➖", "+": "＋➕", "\\times ": "×✕✖⨯", "\\cdot ": "·⋅∙•・", "\\div ": "÷➗", "/": "∕⁄／",
    "\\pm ": "±", "\\mp ": "∓", "*": "∗＊", "=": "＝", "\\approx ": "≈≒≃≅", "\\equiv ": "≡", "\\ne ": "≠",
    "\\le ": "≤≦⩽", "\\ge ": "≥≧⩾", "\\infty ": "∞", "\\pi ": "π𝜋", "\\emptyset ": "∅⌀", "\\in ": "∈", "\\notin ": "∉",
    "\\cup ": "∪", "\\cap ": "∩", "\\setminus ": "∖⧵", "\\subset ": "⊂", "\\subseteq ": "⊆", "\\to ": "→⟶",
    "\\iff ": "⇔",
    "\\implies ": "⇒", "\\langle ": "⟨〈", "\\rangle ": "⟩〉", "|": "∣│｜", "\\| ": "‖∥", "\\perp ": "⊥",
    "\\angle ": "∠",
    "\\triangle ": "△", "\\degree ": "°º˚", "'": "′’‘ʹ`´＇", "''": "″", '"': "“”„«»＂", "\\ldots ": "…⋯", ",": "，、،٬",
    ".": "。．｡٫", ":": "：∶", ";": "；", "(": "（", ")": "）", "[": "［【", "]": "］】", "{": "｛",
    "}": "｝", "%": "％٪",
    "\\degree C": "℃", "\\degree F": "℉", "\\Omega ": "\u2126", "\\mu ": "µ", "\\sum ": "∑", "\\prod ": "∏",
    "\\int ": "∫",
    "\\partial ": "∂", "\\lfloor ": "⌊", "\\rfloor ": "⌋", "\\lceil ": "⌈", "\\rceil ": "⌉", "\\mathbb{R} ": "ℝ",
    "\\mathbb{Z} ": "ℤ", "\\mathbb{N} ": "ℕ", "\\mathbb{Q} ": "ℚ", "\\mathbb{C} ": "ℂ", "<": "＜﹤",
    ">": "＞﹥", "!": "！", "?": "？", "\\ell ": "ℓ", "\\forall ": "∀", "\\exists ": "∃", "\\wedge ": "∧",
    "\\vee ": "∨",
    "\\, ": "\u2009\u202f\u00a0\u2006\u2007\u2008", " ": "\u2002\u2003\u2004\u2005\u3000\u205f", "^": "＾", "_": "＿",
    "\\square ": "□", "\\circ ": "∘", "\\neg ": "¬", "\\propto ": "∝", "\\sim ": "∼～", "\\oplus ": "⊕", "\\hbar ": "ℏ",
    "\n": "\u2028\u2029\u0085\r\v\f", "\\star ": "⋆", "\\top ": "⊤",
}  # fmt: skip
_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "εϵ", "zeta": "ζ", "eta": "η", "theta": "θϑ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "rho": "ρ", "sigma": "σς", "tau": "τ",
    "upsilon": "υ", "phi": "φϕ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ∆", "Theta": "Θ",
    "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵃᵇᶜᵈᵉᵏᵐᵖᵗˣʸᵀ", "0123456789+-=()niabcdekmptxyT", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₓₙₖₘₜᵢⱼ", "0123456789+-=()aexnkmtij", strict=True))
_RAISED_RUN = re.compile(f"[{''.join(_RAISED)}]+")
_LOWERED_RUN = re.compile(f"[{''.join(_LOWERED)}]+")
_FRACTION = re.compile(r"[¼-¾⅐-⅞↉]|(?<![A-Za-z)\]}])[⁰¹²³⁴-⁹]+[⁄∕/][₀-₉]+")
_DOT_ABOVE, _LINE_ABOVE = "\u0307", "\u0305"
_MARKED = re.compile(f"((?:\\d[{_DOT_ABOVE}{_LINE_ABOVE}\u0304])+)")
_INVISIBLE = {"Cf", "Cc", "Cs", "Co", "Cn", "Mn"}


def _table() -> dict[int, str]:
    table = {ord(char): spelt for spelt, chars in _SIGNS.items() for char in chars}
    table |= {ord(char): f"\\{name} " for name, chars in _GREEK.items() for char in chars}
    for code in range(0x80, 0x1FC00):
        if code not in table and (digit := unicodedata.decimal(chr(code), None)) is not None:
            table[code] = str(digit)
    for code in range(0x1D400, 0x1D800):  # mathematical letters
        letter = unicodedata.normalize("NFKC", chr(code))
        if code not in table and letter != chr(code):
            table[code] = table.get(ord(letter), letter)
    table |= {code: chr(code - 0xFEE0) for code in range(0xFF21, 0xFF5B) if chr(code - 0xFEE0).isalpha()}
    return table


_TABLE = _table()


def unify(text: str) -> str:
    """The text with one spelling for every character."""
    if text.isascii():
        return text if text.isprintable() else _visible(text)
    text = _FRACTION.sub(_fraction, text)
    text = _RAISED_RUN.sub(lambda run: "^{" + "".join(map(_RAISED.__getitem__, run[0])) + "} ", text)
    text = _LOWERED_RUN.sub(lambda run: "_{" + "".join(map(_LOWERED.__getitem__, run[0])) + "} ", text)
    text = _MARKED.sub(_repeating, text)
    return _visible(text.translate(_TABLE))


def _repeating(run: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", run[0])
    return "".join(rf"\dot{{{digit}}}" for digit in digits) if _DOT_ABOVE in run[0] else rf"\overline{{{digits}}}"


def _fraction(written: re.Match[str]) -> str:
    top, bottom = re.split("[⁄∕/]", unicodedata.normalize("NFKC", written[0]))
    return rf"\frac{{{top}}}{{{bottom}}} "


def _visible(text: str) -> str:
    """The text without characters that are not seen, such as a zero-width space or a byte order mark."""
    return "".join(
        char for char in text if char in "\n\t " or char.isprintable() or unicodedata.category(char) not in _INVISIBLE
    )
