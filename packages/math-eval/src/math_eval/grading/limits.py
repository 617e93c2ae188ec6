r"""Static limits: answers that are refused before they are read, or before math-verify evaluates them.

Each check counts in one pass. Our choice: limits with a wide margin over every answer of MATH-500.

>>> too_much("9" * 300), too_much(r"\frac{1}{2}")
('a number of more than 256 digits', '')
"""

import re

MAX_COMPLETION_CHARS = 1_000_000
_MAX_CHARS = 4096
_MAX_NESTING = 64
_MAX_COMMANDS = 256
_MAX_OPERATORS = 1024
_MAX_EXPONENT = 10_000
_MAX_FACTORIAL = 10_000

_COMMAND = re.compile(r"\\[A-Za-z]+")
_OPERATOR = re.compile(r"[-+*/^=!<>]")
_LONG_NUMBER = re.compile(r"\d{257}")
_POWER = re.compile(r"(?:\^|\*\*)[\s{(]*-?\s*([\d.,]+)")
_SCIENTIFIC = re.compile(r"(?<=[\d.])[eE][-+]?(\d+)")
_TOWER = re.compile(r"(?:\^|\*\*)[\s{(]*[\w.]+[\s)]*(?:\^|\*\*|!)")
_FACTORIAL = re.compile(r"(\d+)[\s)}]*!")
_REPEATED_FACTORIAL = re.compile(r"![)}\]\s]*!")


def too_much(text: str) -> str:
    """The reason why `text` is not safe to parse, or an empty string."""
    if len(text) > _MAX_CHARS:
        return f"an answer of more than {_MAX_CHARS} characters"
    if _LONG_NUMBER.search(text):
        return "a number of more than 256 digits"
    if _nesting(text) > _MAX_NESTING:
        return f"brackets nested more than {_MAX_NESTING} deep"
    if len(_COMMAND.findall(text)) > _MAX_COMMANDS:
        return f"more than {_MAX_COMMANDS} LaTeX commands"
    if len(_OPERATOR.findall(text)) > _MAX_OPERATORS:
        return f"more than {_MAX_OPERATORS} operators"
    return ""


def explosive(text: str) -> str:
    """The reason why powers or factorials in `text` could be too large to evaluate, or an empty string."""
    if _TOWER.search(text):
        return "a tower of powers"
    if any(_magnitude(match) > _MAX_EXPONENT for match in _POWER.findall(text) + _SCIENTIFIC.findall(text)):
        return f"an exponent above {_MAX_EXPONENT}"
    if _REPEATED_FACTORIAL.search(text):
        return "a factorial of a factorial"
    if any(int(number) > _MAX_FACTORIAL for number in _FACTORIAL.findall(text)):
        return f"a factorial of a number above {_MAX_FACTORIAL}"
    return ""


def _magnitude(digits: str) -> int:
    whole = digits.replace(",", "").partition(".")[0]
    return int(whole or "0")


def _nesting(text: str) -> int:
    """The maximum depth of brackets; closing brackets without an opening one are ignored."""
    depth = deepest = 0
    for char in text:
        if char in "({[":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")}]":
            depth = max(0, depth - 1)
    return deepest
