"""Which questions also stand in test files: the same text, or a run of 13 words in common.

What is done with them is left to `mixture`, which rejects them by reason.

    tests = TestQuestions.read(["test.jsonl"])
    tests.match("What is 12 + 15?")                     # 'test.jsonl: the same question', or None
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ._shared.records import Row, read_records

# Ideographs, kana and bopomofo.
_UNSPACED = r"\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"(?=\w)[{_UNSPACED}]|[^\W{_UNSPACED}]+|[-+*/=^<>]")
NGRAM = 13
"""Words in a row that two questions must not share; the length that GPT-3's authors chose (arXiv 2005.14165, C)."""


class TestQuestions:
    """The questions of test files, by text and by runs of words; questions below 13 words match as a whole only."""

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
        """Take in one question of the file `name`."""
        self.questions[name] += 1
        text = _normalised(question)
        words = _words(text)
        self._whole.setdefault(_whole(text, words), name)
        for run in _runs(words):
            self._runs.setdefault(run, name)

    def match(self, question: str) -> str | None:
        """Where and how a question matches, counted in `matches`; None if it is nowhere."""
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
        """For the data card: questions and matching traces of each file."""
        files = {name: {"questions": count, "matches": self.matches[name]} for name, count in self.questions.items()}
        return {"ngram": NGRAM, "files": files}


def _normalised(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _whole(text: str, words: list[str]) -> str:
    """What makes two questions the same: their words, or the text itself where there are but signs and emojis."""
    return " ".join(words) if re.search(r"\w", text) else text.strip()


def _words(text: str) -> list[str]:
    """Words and operators.

    Our choice: each character of Chinese and Japanese is a word, because without spaces a clause would be a single one
    and match as a whole only. Thai, Lao, Khmer and Burmese fall into pieces at their vowel signs.
    """
    return _WORD.findall(text)


def _runs(words: list[str]) -> Iterator[str]:
    """Runs of 13 words; operators count as words, since 3 + 4 is not 3 - 4; punctuation does not."""
    for start in range(len(words) - NGRAM + 1):
        yield " ".join(words[start : start + NGRAM])
