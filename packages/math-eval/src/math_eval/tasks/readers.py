r"""Rows of published benchmarks as rows of the `problems` contract: one reader for each layout.

A reader gets a row and the row's number, and may raise any error that a row of another layout causes. Tasks of letters
are left to `letters`, the places of the datasets to `datasets`.

>>> gsm8k({"question": "2 * 600?", "answer": "2 * 600 = 1200\n#### 1,200"}, 0)["answer"]
'1,200'
"""

from collections.abc import Callable

from math_eval._shared.records import Row

from .gold import after, as_text, last_box, scientific, without_dollars

Reader = Callable[[Row, int], Row]
"""Makes a problem from a row and the row's number."""


def _but(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def gsm8k(row: Row, index: int) -> Row:
    """The answer is the text after `####`."""
    solution = row["answer"].rpartition("####")[0].strip()
    return {
        "id": f"gsm8k/{index}",
        "question": row["question"],
        "answer": after(row["answer"], "####") or "",
        "solution": solution,
    }


def math500(row: Row, index: int) -> Row:
    """MATH-500 has a field of the answer."""
    return {
        "id": str(row.get("unique_id", f"math500/{index}")),
        "question": row["problem"],
        **_but(row, "problem", "unique_id"),
    }


def math(row: Row, index: int) -> Row:
    """The answer is in the last box of the solution."""
    return {
        "id": f"math/{index}",
        "question": row["problem"],
        "answer": last_box(row["solution"]) or "",
        **_but(row, "problem"),
    }


def contest(name: str) -> Reader:
    """Contest problems with short answers; `problem_idx` is the name that MathArena gives to the id."""

    def reader(row: Row, index: int) -> Row:
        return {
            "id": f"{name}/{row.get('id', row.get('problem_idx', index))}",
            "question": row.get("problem") or row["question"],
            "answer": as_text(row["answer"]),
            **_but(row, "id", "problem_idx", "problem", "question", "answer"),
        }

    return reader


def minerva(row: Row, index: int) -> Row:
    """The hub has the answer, the authors' file a solution with a box; both write 4.5e33 and np.arcsin."""
    answer = as_text(row["answer"]) if "answer" in row else last_box(row["solution"]) or ""
    return {
        "id": f"minerva_math/{row.get('idx', index)}",
        "question": row.get("problem") or row["question"],
        "answer": scientific(answer.replace("np.", "\\")),
        **_but(row, "idx", "problem", "question", "answer"),
    }


def olympiadbench(row: Row, index: int) -> Row:
    """Answers are lists of LaTeX; several answers in one text are separated by commas. The unit is a separate field."""
    answers = [without_dollars(answer) for answer in row["final_answer"]]
    kept = ("subfield", "answer_type", "is_multiple_answer", "unit")
    return {
        "id": f"olympiadbench/{row.get('id', index)}",
        "question": row["question"],
        "answer": ", ".join(answers),
        **{name: row[name] for name in kept if row.get(name) is not None},
    }


def svamp(row: Row, index: int) -> Row:
    """The question is in two fields, its story and the question itself."""
    body = row["Body"].strip().removesuffix(".")
    return {
        "id": f"svamp/{row.get('ID', index)}",
        "question": f"{body}. {row['Question'].strip()}",
        "answer": as_text(float(row["Answer"])),
        "type": row["Type"],
        "equation": row["Equation"],
    }
