r"""What LaTeX macros are to a reader of answers: style, spacing, signs, functions or structures.

Only names are listed here; splitting a text into tokens is left to `tokens`, and arguments to `expression`.

>>> SIGNS["leq"], SIGNS["cdot"], "mathbf" in STYLES
('<=', '*', True)
"""

from .words import word_set, words

SKIPPED = word_set(
    "left right middle displaystyle textstyle scriptstyle scriptscriptstyle limits nolimits big Big bigg Bigg "
    "bigl bigr bigm Bigl Bigr Bigm biggl biggr biggm Biggl Biggr Biggm rm bf it sf tt sl bfseries itshape "
    "normalfont normalsize large Large LARGE huge Huge small centering hfill hfil noindent boldmath allowbreak "
    "nobreak relax strut mathstrut protect null mathop mathrel mathbin mathord mathopen mathclose mathpunct "
    "nonumber therefore notag hline par"
)
"""Macros without a meaning for the value: style switches, sizes of brackets."""

SPACES = word_set(", ! : ; > enspace enskip thinspace medspace thickspace negthinspace space") | {
    " ",
    "\n",
    "/",
}
QUADS = frozenset({"quad", "qquad"})
DROPPED = word_set(
    "phantom hphantom vphantom hspace hspace* vspace vspace* label tag tag* color pagecolor kern hskip vskip "
    "mskip mkern rule raisebox cite ref eqref footnote"
)
"""Macros that are dropped with their argument, since nothing of it is seen in the value."""

STYLES = word_set(
    "boxed fbox framebox mathit mathsf mathtt mathnormal mathcal mathscr mathfrak underline cancel bcancel "
    "xcancel mathstrut smash mathrlap mathllap ensuremath emph substack displaylines hbox vcenter colorbox "
    "underbrace overbrace bbox mathbf boldsymbol bm pmb textcolor vec hat"
)
"""Macros whose argument is read as if it stood alone; those in `VECTORS` mark a letter as a vector."""

COLOURED = frozenset({"textcolor", "colorbox"})
VECTORS = frozenset({"mathbf", "boldsymbol", "bm", "pmb", "vec", "hat"})
TEXTS = word_set(
    "text mbox textrm textbf textit texttt textsf textsc textnormal textup textmd textsl mathrm operatorname "
    "operatorname* mathregular textmath"
)
ACCENTS = word_set(
    "bar overline tilde dot ddot widehat widetilde overrightarrow overleftarrow overleftrightarrow check breve "
    "acute grave wideparen overarc overset underset stackrel"
)
SETS = frozenset({"mathbb", "Bbb"})

SIGNS = {
    "cdot": "*", "times": "×", "ast": "*", "div": "÷", "pm": "±", "mp": "∓", "le": "<=", "leq": "<=", "leqslant": "<=",
    "leqq": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=", "geqq": ">=", "lt": "<", "gt": ">", "ne": "!=",
    "neq": "!=", "approx": "≈", "simeq": "≈", "approxeq": "≈", "doteq": "≈", "equiv": "≡", "cong": "≅", "sim": "~",
    "in": "∈", "notin": "∉", "ni": "∋", "cup": "∪", "bigcup": "∪", "cap": "∩", "bigcap": "∩", "setminus": "∖",
    "backslash": "∖", "smallsetminus": "∖", "subset": "⊂", "subseteq": "⊆", "to": "→", "rightarrow": "→",
    "longrightarrow": "→", "mapsto": "↦", "implies": "⇒", "Rightarrow": "⇒", "Longrightarrow": "⇒", "iff": "⇔",
    "Leftrightarrow": "⇔", "colon": ":", "ratio": ":", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "Vert": "‖",
    "lVert": "‖", "rVert": "‖", "|": "‖", "langle": "⟨", "rangle": "⟩", "lbrace": r"\{", "rbrace": r"\}", "{": r"\{",
    "}": r"\}", "lbrack": "[", "rbrack": "]", "lparen": "(", "rparen": ")", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈",
    "rceil": "⌉", "degree": "°", "ldots": "…", "dots": "…", "cdots": "…", "dotsc": "…", "dotsb": "…", "dotso": "…",
    "vdots": "…", "prime": "'", "%": "%", "$": "$", "&": "and", "#": "#", "_": "_", "land": "∧", "wedge": "∧",
    "lor": "∨", "vee": "∨", "perp": "⊥", "parallel": "∥", "propto": "∝", "cr": "row", "newline": "row", "\\": "row",
    "tabularnewline": "row", "pounds": "£", "textsterling": "£", "euro": "€", "texteuro": "€", "yen": "¥",
    "textdollar": "$",
    "textdegree": "°", "textpercent": "%", "bullet": "*", "circ": "∘", "slash": "/", "mod": "mod", "bmod": "mod",
    "pmod": "mod", "over": "over", "choose": "choose", "middle|": "|", "textbackslash": "∖", "star": "*",
}  # fmt: skip

FUNCTIONS = {
    **{name: name for name in words(
        "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth sech csch ln log lg "
        "exp min max gcd lcm sgn det arg dim ker deg Re Im cis sqrt cbrt abs floor ceil arsinh arcosh artanh tr erf "
        "rank fourthroot"
    )},
    **{short: long for short, long in (pair.split(":") for pair in words(
        "asin:arcsin acos:arccos atan:arctan acot:arccot asec:arcsec acsc:arccsc asinh:arsinh acosh:arcosh "
        "atanh:artanh arcsinh:arsinh arccosh:arcosh arctanh:artanh sign:sgn cosec:csc tg:tan ctg:cot cotg:cot "
        "arctg:arctan arcctg:arccot sh:sinh ch:cosh th:tanh log10:lg ceiling:ceil cotan:cot cuberoot:cbrt mcd:gcd "
        "mcm:lcm hcf:gcd Arg:arg trace:tr arctg:arctan unicoderoot:sqrt"
    ))},
}  # fmt: skip
"""Every spelling of a function, and its name."""

GREEK = word_set(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi omicron pi "
    "varpi rho varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma "
    "Upsilon Phi Psi Omega ell hbar Re Im aleph partial nabla infty emptyset varnothing angle measuredangle "
    "triangle square Box imath jmath top complement exists forall neg lnot"
)
LETTER_NAMES = {"varepsilon": "epsilon", "varphi": "phi", "vartheta": "theta", "varnothing": "emptyset", "imath": "i",
                "measuredangle": "angle", "jmath": "j", "Box": "square", "lnot": "neg"}  # fmt: skip
FRACTIONS = word_set("frac dfrac tfrac cfrac sfrac nicefrac flatfrac")
STRUCTURES = word_set("binom dbinom tbinom root of")
BIG = word_set("sum prod int iint iiint oint lim limsup liminf sup inf")
FLAT = word_set(
    "align align* aligned alignat alignedat gather gather* gathered equation equation* split multline flalign math "
    "displaymath center eqnarray eqnarray* dcases* alignat*"
)  # fmt: skip
MATRICES = word_set("matrix pmatrix bmatrix Bmatrix smallmatrix psmallmatrix bsmallmatrix array vmatrix Vmatrix")
CASES = frozenset(["cases", "dcases", "rcases", "numcases"])
KNOWN = (
    SKIPPED
    | QUADS
    | DROPPED
    | STYLES
    | TEXTS
    | ACCENTS
    | SETS
    | SIGNS.keys()
    | FUNCTIONS.keys()
    | GREEK
    | FRACTIONS
    | STRUCTURES
    | BIG
    | {"sqrt", "begin", "end"}
)
"""Every macro with a meaning here."""
