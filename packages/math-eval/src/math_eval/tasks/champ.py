r"""CHAMP: 270 competition problems with written-out answers, from the package `champ-dataset` (extra `champ`).

Its answers were written for human readers. Remarks are removed ("0 is the only possible value" becomes 0) and formulas
are written in LaTeX. A problem is left out if its answer is still prose ("No integer solutions"), the values of several
unknowns, or a formula that the grader cannot read (binomials, floors, sums). The source records how many are left out.

    problems, source = read()
    len(problems), source["left_out"]   # (214, 56)
"""

import re
from importlib.metadata import distribution
from pathlib import Path

from math_eval._shared.records import Row, validate
from math_eval._shared.strict_json import parse_json
from math_eval.errors import needs_extra

NAME = "champ"
SIZE = 214
_PACKAGE, _FILE = "champ-dataset", "champ_dataset/dataset_files/v0.json"
_REMARKS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^.*, or equivalently ", ""),
        (r", or (?:approximately|an equivalent form such as) .*$", ""),
        (r" \((?:i\.e\.|no such|none of)[^()]*(?:\([^()]*\)[^()]*)*\)$", ""),
        (r" is the only possible value$", ""),
        (r"^The (?:only possible value for the limit is|limit exists and is equal to) ", ""),
        (r" (?:values|pairs|roots|inequalities|times)$", ""),
        (r" and ", ", "),
        (r"\^\(([^()]*)\)", r"^{\1}"),
        (r"sqrt\(([^()]*)\)", r"\\sqrt{\1}"),
    )
)
_READABLE = re.compile(r"Yes|No|(?:\\sqrt|(?<![A-Za-z])[A-Za-z]{1,3}(?![A-Za-z])|[\d+\-*/^{}()\[\]=!.,\s])+")
_FUNCTION = re.compile(r"\b(?:C|f|[xy])\(|\.\.\.")


def read() -> tuple[list[Row], Row]:
    """The problems with an answer that can be graded, and their source.

    Raises:
        DataError: The package is not installed.
    """
    with needs_extra("champ"):
        package = distribution(_PACKAGE)
    path = Path(str(package.locate_file(_FILE)))
    rows = list(parse_json(path.read_text("utf-8"), str(path))["problems"].values())
    problems = [
        validate(
            {"id": f"champ/{row['identifier']}", "question": row["_text"], "answer": answer, "type": row["category"]},
            "problems",
            f"{path}: {row['identifier']}",
        )
        for row in rows
        if (answer := readable(row["_answer"])) is not None
    ]
    return problems, {"package": _PACKAGE, "version": package.version, "left_out": len(rows) - len(problems)}


def readable(answer: str) -> str | None:
    """The answer without remarks, in LaTeX; None if it is prose or a formula that the grader cannot read.

    >>> readable("0 is the only possible value")
    '0'
    """
    for pattern, replacement in _REMARKS:
        answer = pattern.sub(replacement, answer)
    unreadable = _FUNCTION.search(answer) or answer.count("=") > 1
    return answer if _READABLE.fullmatch(answer) and not unreadable else None
