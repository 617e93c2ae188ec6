r"""Rules that reject compressed thinking: degenerate text and, on request, text below the paper's floors.

The paper's cleaning (section 2.1, step 5). A text is rejected and never repaired, because its tokens were already
counted. Tags in a text, ratios that are off, and the counting of rejects are left to `acceptance`.

>>> collapse("wait, no. " * 12)
('repeated_phrase', "'wait, no.' 12 times in a row")
>>> below_floor("3 + 4 = 7, so 7.", "7", 1, 0.2)
('below_floor', '1 tokens, fewer than 100')
"""

import re
from collections import Counter

import numpy as np

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CHARACTER_RUN = re.compile(r"([^\s\-=_*])\1{20,}")
_LONGEST_PERIOD = 8
_MOST_REPEATS = 12
_WORD = re.compile(r"\w+|[^\w\s]")
_FEWEST_WORDS = 50
_COMMON_SHARE = 0.4
_REPEATED_SHARE = 0.9
_MARK = re.compile(r"[.,;:!?]")
_MARK_SHARE = 0.55
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_FLOORS = {0.2: (100, 0.35), 0.4: (80, 0.45), 0.6: (60, 0.58), 0.8: (50, 0.7), 1.0: (50, 1.0)}


def collapse(text: str) -> tuple[str, str]:
    """The reason why a text is degenerate, and a detail; empty strings if it is not.

    The paper's rules, at limits far from those of normal mathematical text:

    - `character_run`: one character 21 times in a row. Characters that draw tables and headings are exempt.
    - `repeated_phrase`: a phrase of up to 8 words, 12 times in a row (the paper: one token 12 to 32 times).
    - `common_word`: one word is 40 % of all words and signs (the paper: 28 to 40 %). Our choice: words of two letters
      and more, because half of the signs in a sum may be `+`.
    - `repeated_trigrams`: 90 % of all runs of three words occurred earlier in the text, for example because a
      paragraph is repeated ten times. The paper checks bigrams too, which repeat at least as often. Our choice: 90 %,
      because normal traces reach 70 %.
    - `punctuation`: more than 55 % of the characters are marks such as `.` and `,`; mathematical signs do not count.

    Rules about shares of words apply from 50 words, the shortest text that the paper keeps.

    >>> collapse("!" * 21), collapse("1 + 1 = 2 " * 3)
    (('character_run', "'!' 21 times"), ('', ''))
    """
    for reason, rule in _RULES.items():
        if detail := rule(text):
            return reason, detail
    return "", ""


def lone_surrogate(text: str) -> str:
    r"""The first lone surrogate (half of a UTF-16 pair) as JSON escapes it, or an empty string.

    A lone surrogate is no valid character, so the text cannot be encoded.

    >>> lone_surrogate("a\ud800"), lone_surrogate("\U0001f642")
    ('\\ud800', '')
    """
    found = _LONE_SURROGATE.search(text)
    return f"\\u{ord(found[0]):04x}" if found else ""


def below_floor(cot: str, text: str, tokens: int, ratio: float) -> tuple[str, str]:
    """The reason why a compressed text is below the paper's floors, and a detail; empty strings if it is not.

    At ratios .2 .4 .6 .8 1 the paper requires 100 80 60 50 50 tokens, and a share of .35 .45 .58 .7 1 of the anchors
    of the full text. Our choice: linear interpolation between these ratios, and the distinct numbers as anchors,
    because the paper does not define an anchor and the answer is made of numbers.

    Args:
        cot: The full thinking.
        text: The compressed thinking.
        tokens: Number of tokens of `text`.
        ratio: The ratio that was requested.
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
            if run >= period * (_MOST_REPEATS - 1):
                return f"{' '.join(words[index - period + 1 : index + 1])!r} {_MOST_REPEATS} times in a row"
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
