r"""Which compressed thinking is not worth learning from: text that collapsed and, if asked for, what is too little.

The paper's cleaning (section 2.1, step 5). A text is judged and never repaired, since its tokens are counted already;
for the same reason rows are rejected whole. Tags in a text, ratios that are off, and the counting of rejects are left
to `mixture`.

    collapse("wait, no. " * 12)                       # ('repeated_phrase', "'wait, no.' 12 times in a row")
    below_floor("3 + 4 = 7, so 7.", "7", 1, 0.2)      # ('below_floor', '1 tokens, fewer than 100')
"""

import re
from collections import Counter

import numpy as np

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CHARACTER_RUN = re.compile(r"([^\s\-=_*])\1{20,}")
_LONGEST_PERIOD = 8
_MOST_TELLINGS = 12
_WORD = re.compile(r"\w+|[^\w\s]")
_FEWEST_WORDS = 50
_COMMON_SHARE = 0.4
_REPEATED_SHARE = 0.9
_MARK = re.compile(r"[.,;:!?]")
_MARK_SHARE = 0.55
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_FLOORS = {0.2: (100, 0.35), 0.4: (80, 0.45), 0.6: (60, 0.58), 0.8: (50, 0.7), 1.0: (50, 1.0)}


def collapse(text: str) -> tuple[str, str]:
    """Why a text is no thinking, as a slug and a detail; empty strings if nothing is wrong with it.

    The paper's rules, at limits that sane mathematics does not come near:

    - `character_run`: a character 21 times in a row, but for those that tables and headings are drawn with.
    - `repeated_phrase`: a phrase of up to 8 words 12 times in a row (the paper: one token 12 to 32 times).
    - `common_word`: one word makes up 40 % of the words and signs (the paper: 28 to 40 %). Our choice: words of two
      letters and more, because of a sum's signs half may well be `+`.
    - `repeated_trigrams`: nine of ten runs of three words stood there before, as when a paragraph is told ten times.
      Bigrams, which the paper asks for too, repeat at least as often. Our choice: .9, because sane traces reach .7.
    - `punctuation`: above 55 % of the characters are marks such as `.` and `,`; signs of mathematics are none.

    Shares of words are taken of 50 words and more, the shortest text that the paper keeps.

    >>> collapse("!" * 21), collapse("1 + 1 = 2 " * 3)
    (('character_run', "'!' 21 times"), ('', ''))
    """
    for reason, rule in _RULES.items():
        if detail := rule(text):
            return reason, detail
    return "", ""


def lone_surrogate(text: str) -> str:
    r"""Half of a UTF-16 pair without the other, as JSON escapes it, or an empty string; no encoding has room for it.

    >>> lone_surrogate("a\ud800"), lone_surrogate("\U0001f642")
    ('\\ud800', '')
    """
    found = _LONE_SURROGATE.search(text)
    return f"\\u{ord(found[0]):04x}" if found else ""


def below_floor(cot: str, text: str, tokens: int, ratio: float) -> tuple[str, str]:
    """Whether a text of `tokens` tokens made of `cot` for `ratio` is below the paper's floors; as `collapse` says it.

    At ratios .2 .4 .6 .8 1 the paper asks for 100 80 60 50 50 tokens, and for .35 .45 .58 .7 1 of the full text's
    anchors. Our choice: straight lines between, and distinct numbers as anchors, because what an anchor is stays
    unpublished and numbers are what the answer is made of.
    """
    fewest, share = (float(np.interp(ratio, list(_FLOORS), column)) for column in zip(*_FLOORS.values(), strict=True))
    if tokens < fewest:
        return "below_floor", f"{tokens} tokens, fewer than {fewest:g}"
    anchors = set(_NUMBER.findall(cot))
    kept = len(anchors.intersection(_NUMBER.findall(text)))
    if kept < share * len(anchors):
        return "lost_anchors", f"{kept} of {len(anchors)} numbers, fewer than {share:.0%}"
    return "", ""


def _character_run(text: str) -> str:
    run = _CHARACTER_RUN.search(text)
    return f"{run[1]!r} {len(run[0])} times" if run else ""


def _repeated_phrase(text: str) -> str:
    words = text.split()
    for period in range(1, _LONGEST_PERIOD + 1):
        run = 0
        for index in range(period, len(words)):
            run = run + 1 if words[index] == words[index - period] else 0
            if run >= period * (_MOST_TELLINGS - 1):
                return f"{' '.join(words[index - period + 1 : index + 1])!r} {_MOST_TELLINGS} times in a row"
    return ""


def _common_word(text: str) -> str:
    words = _words(text)
    if len(words) < _FEWEST_WORDS:
        return ""
    counts = Counter(word for word in words if len(word) > 1 and word.isalpha())
    (word, count), *_ = counts.most_common(1) or [("", 0)]
    return f"{word!r} is {count} of {len(words)} words" if count >= _COMMON_SHARE * len(words) else ""


def _repeated_trigrams(text: str) -> str:
    words = _words(text)
    if len(words) < _FEWEST_WORDS:
        return ""
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    repeated = len(trigrams) - len(set(trigrams))
    return f"{repeated} of {len(trigrams)} trigrams" if repeated >= _REPEATED_SHARE * len(trigrams) else ""


def _punctuation(text: str) -> str:
    marks, characters = len(_MARK.findall(text)), len("".join(text.split()))
    return f"{marks} of {characters} characters" if marks > _MARK_SHARE * characters else ""


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


_RULES = {
    "character_run": _character_run,
    "repeated_phrase": _repeated_phrase,
    "common_word": _common_word,
    "repeated_trigrams": _repeated_trigrams,
    "punctuation": _punctuation,
}
