"""A condition as EvalScope writes it: a report for each task, and the reviews of its samples.

`evalscope app` shows them when the folder is below its outputs folder. The report has the first version of its format,
which later releases read, too (`evalscope.report.Report.from_json`, 1.14.1). Its only subset is `default`.

    list(dict(files(entry)))     # ['reports/sft/gsm8k.json', 'reviews/sft/gsm8k_default.jsonl']
"""

from collections.abc import Iterator

from math_eval._shared.records import Row
from math_eval.efficiency import correct
from math_eval.report.data import Entry
from math_eval.report.lm_eval import safe_name

from .files import measured, numbered, tasks

_SUBSET = "default"


def files(entry: Entry) -> Iterator[tuple[str, Row | list[Row]]]:
    """The report and the reviews of each task."""
    model = safe_name(entry.name)
    for task, rows in tasks(entry):
        name = safe_name(task)
        yield f"reports/{model}/{name}.json", _report(model, name, rows)
        yield (
            f"reviews/{model}/{name}_{_SUBSET}.jsonl",
            [_review(index, number, draw, row) for index, (number, draw, row) in enumerate(numbered(rows))],
        )


def _report(model: str, task: str, rows: list[Row]) -> Row:
    score = {"num": len(rows), "score": round(sum(map(correct, rows)) / len(rows), 4)}
    return {
        "name": f"{model}@{task}",
        "dataset_name": task,
        "dataset_pretty_name": task,
        "model_name": model,
        "metrics": [
            {
                "name": "mean_acc",
                "categories": [{"name": [_SUBSET], "subsets": [{"name": _SUBSET, **score}]}],
            }
        ],
    }


def _review(index: int, number: int, draw: int, row: Row) -> Row:
    return {
        "index": index,
        "target": row["answer"],
        "messages": [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["completion"]},
        ],
        "sample_score": {
            "score": {
                "value": {"acc": correct(row)},
                "extracted_prediction": row["extracted"],
                "prediction": row["completion"],
                "explanation": row.get("refused", row["verdict"]),
                "main_score_name": "acc",
            },
            "sample_id": index,
            "group_id": number,
            "generation_index": draw,
            "sample_metadata": {"id": row["id"], **measured(row)},
        },
    }
