"""What the formats share: files as values, samples of one task, numbered problems, and the fields of a problem.

>>> problem({"id": "a", "question": "2 + 2?", "answer": "4", "level": 1, "completion": "4", "task": "t"})
{'id': 'a', 'question': '2 + 2?', 'answer': '4', 'level': 1}
"""

from collections.abc import Iterator

from math_eval._shared.records import Row
from math_eval.report.data import Entry
from math_eval.tasks import SAMPLE_FIELDS

Files = dict[str, Row | list[Row]]
"""Path of each file under the folder -> a JSON object, or rows of JSON Lines."""


def tasks(entry: Entry) -> Iterator[tuple[str, list[Row]]]:
    """The samples of each task of a condition."""
    found: dict[str, list[Row]] = {}
    for row in entry.condition.rows:
        found.setdefault(row["task"], []).append(row)
    yield from found.items()


def numbered(rows: list[Row]) -> Iterator[tuple[int, int, Row]]:
    """Each sample with the number of its problem and its number among those of this problem, both from 0."""
    seen: dict[str, list[int]] = {}
    for row in rows:
        place = seen.setdefault(row["id"], [len(seen), -1])
        place[1] += 1
        yield place[0], place[1], row


def problem(row: Row) -> Row:
    """The fields of a sample that its problem has."""
    return {name: value for name, value in row.items() if name not in SAMPLE_FIELDS}


def measured(row: Row) -> Row:
    """The fields of a sample that tell how it was made and counted."""
    names = ("verdict", "thinking_tokens", "completion_tokens", "truncated", "ratio", "chosen_ratio", "seed", "sample")
    return {name: row[name] for name in (*names, "latency_s", "refused") if name in row}
