"""When two questions are the same, so that the samples of one question stay together.

What is done with equal questions is left to `selection` (held-out questions) and `training.row_checks`.

>>> question_key("How  MANY apples?") == question_key("how many apples?")
True
"""

import hashlib
import unicodedata


def question_key(question: str) -> str:
    r"""The text of a question without differences of Unicode form, case and white space (section 2.1, step 3).

    >>> question_key(" How  many\napples? ")
    'how many apples?'
    """
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split())


def text_hash(text: str) -> bytes:
    """A hash of 16 bytes, to compare texts without keeping them in memory."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
