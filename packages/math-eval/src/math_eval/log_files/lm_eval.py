"""A condition as lm-evaluation-harness writes it with `--log_samples`: a results file, and the samples of each task.

The formats are its `EvalResults` and `SampleResult` (lm_eval/result_schema.py, 0.4.13).

    dict(files(entry))     # {'sft/results_2026-11-24T01-34-41.json': {…}, 'sft/samples_gsm8k_2026-….jsonl': [{…}]}
"""

import hashlib
import json
from collections.abc import Iterator

from math_eval._shared.records import Row
from math_eval.efficiency import correct
from math_eval.report.data import Entry
from math_eval.report.lm_eval import date, file_name, results_file, safe_name

from .files import measured, numbered, problem, tasks


def files(entry: Entry) -> Iterator[tuple[str, Row | list[Row]]]:
    """The results file, and a file of samples for each task; a problem's samples are one row of it."""
    results = results_file(entry)
    yield file_name(entry), results
    for task, rows in tasks(entry):
        documents: dict[int, list[Row]] = {}
        for number, _, row in numbered(rows):
            documents.setdefault(number, []).append(row)
        generation = results["config"]["gen_kwargs"]
        name = f"{safe_name(entry.name)}/samples_{safe_name(task)}_{date(entry)}.jsonl"
        yield name, [_document(number, some, generation) for number, some in documents.items()]


def _document(number: int, rows: list[Row], generation: Row) -> Row:
    """One problem with all its samples; `acc` is the mean of their verdicts."""
    first = rows[0]
    content = problem(first)
    return {
        "doc_id": number,
        "doc": {**content, "math_eval": [measured(row) for row in rows]},
        "target": first["answer"],
        "arguments": {"gen_args_0": {"arg_0": first["prompt"], "arg_1": generation}},
        "resps": [[row["completion"] for row in rows]],
        "filtered_resps": [[row["extracted"] or "" for row in rows]],
        "filter": "none",
        "metrics": ["acc"],
        "doc_hash": _hash(json.dumps(content, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(first["prompt"]),
        "target_hash": _hash(first["answer"]),
        "acc": sum(map(correct, rows)) / len(rows),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
