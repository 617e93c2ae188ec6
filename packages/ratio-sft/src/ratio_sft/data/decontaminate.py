"""Which questions are also in test files: the same text, or 13 consecutive words in common.

Rejecting the traces of such questions is left to `acceptance`.

>>> tests = TestQuestions()
>>> tests.add("test.jsonl", "What is 12 + 15?")
>>> tests.match("what is 12 + 15")
'test.jsonl: the same question'
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ratio_sft._shared.records import Row, read_records

# Ideographs, kana and bopomofo: scripts without spaces between words.
_UNSPACED = r"\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"(?=\w)[{_UNSPACED}]|[^\W{_UNSPACED}]+|[-+*/=^<>]")
NGRAM = 13
"""Number of consecutive words that two questions must not share; the authors of GPT-3 used 13 (arXiv 2005.14165, C)."""


class TestQuestions:
    """The questions of test files. A question shorter than 13 words matches as a whole only."""

    __test__ = False

    def __init__(self) -> None:
        self.questions: Counter[str] = Counter()
        self.matches: Counter[str] = Counter()
        self._whole: dict[str, str] = {}
        self._runs: dict[str, str] = {}

    @classmethod
    def read(cls, paths: Iterable[str | Path]) -> "TestQuestions":
        """Read files of the `problems` contract.

        Raises:
            DataError: a file is missing or breaks its contract.
        """
        tests = cls()
        for path in paths:
            for row in read_records(path, "problems"):
                tests.add(Path(path).name, row["question"])
        return tests

    def add(self, name: str, question: str) -> None:
        """Add one question of the file `name`."""
        self.questions[name] += 1
        text = _normalised(question)
        words = _words(text)
        self._whole.setdefault(_whole(text, words), name)
        for run in _runs(words):
            self._runs.setdefault(run, name)

    def match(self, question: str) -> str | None:
        """The test file that a question matches, and how; None without a match. `matches` counts them."""
        text = _normalised(question)
        words = _words(text)
        name, how = self._whole.get(_whole(text, words)), "the same question"
        if name is None:
            run = next((run for run in _runs(words) if run in self._runs), None)
            if run is None:
                return None
            name, how = self._runs[run], f"shares {run!r}"
        self.matches[name] += 1
        return f"{name}: {how}"

    def report(self) -> Row:
        """Number of questions and of matching traces for each test file, as the data card records them."""
        files = {name: {"questions": count, "matches": self.matches[name]} for name, count in self.questions.items()}
        return {"ngram": NGRAM, "files": files}


def _normalised(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _whole(text: str, words: list[str]) -> str:
    """The part of a question that must be equal: its words, or its whole text if it has none (signs, emojis)."""
    return " ".join(words) if re.search(r"\w", text) else text.strip()


def _words(text: str) -> list[str]:
    """Words and operators.

    Our choice: each character of Chinese and Japanese is a word, because these scripts have no spaces and a whole
    clause would be one word. Thai, Lao, Khmer and Burmese are split at their vowel signs.
    """
    return _WORD.findall(text)


def _runs(words: list[str]) -> Iterator[str]:
    """Every 13 consecutive words. Operators count as words, because 3 + 4 differs from 3 - 4; punctuation does not."""
    for start in range(len(words) - NGRAM + 1):
        yield " ".join(words[start : start + NGRAM])
