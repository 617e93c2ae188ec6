"""Lists and sets of words, written as one text.

>>> words("sin cos"), sorted(word_set("b a"))
(['sin', 'cos'], ['a', 'b'])
"""


def words(text: str) -> list[str]:
    """The words of a text in order."""
    return text.split()


def word_set(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())
