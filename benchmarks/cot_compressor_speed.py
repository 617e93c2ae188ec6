"""Characters per second beside llmlingua 0.2.2: the same token classifier, the same texts, turn by turn in one run.

The classifier is MiniLM with a head of random weights: speed does not depend on what it has learnt. Each text goes
through llmlingua and ours at one ratio and at five (llmlingua once for each), and through `rules`. llmlingua counts
with a tokenizer that it downloads; here it gets one of single bytes instead, which has no table to look up. A second
part compresses files of 1 and of 8 times the same traces and prints the peak memory.

    python benchmarks/cot_compressor_speed.py --texts 12 --threads 2
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from peers import DEFAULT, environment, minilm
from recording import record, spread

from cot_compressor.compressor import Compressor
from cot_compressor.onnx_model import export_folder

RATIOS = [0.1, 0.2, 0.4, 0.6, 0.8]
ONE = [0.3]
PACKAGES = ("torch==2.13.0", "llmlingua==0.2.2")
# The name makes llmlingua take the folder for one of its own models.
NAME = "bert-base-multilingual-cased-minilm"
WORKER = """
import json, sys, time, tiktoken, torch
torch.set_num_threads(int(sys.argv[2]))
one_byte = {bytes([at]): at for at in range(256)}
stand_in = tiktoken.Encoding("bytes", pat_str="[^ ]+| +", mergeable_ranks=one_byte, special_tokens={})
tiktoken.encoding_for_model = lambda name: stand_in
from llmlingua import PromptCompressor
compressor = PromptCompressor(sys.argv[1], use_llmlingua2=True, device_map="cpu")
print("ready", flush=True)
for line in sys.stdin:
    text, rates = json.loads(line)
    start = time.perf_counter(), time.process_time()
    for rate in rates:
        compressor.compress_prompt(text, rate=rate)
    print(json.dumps([time.perf_counter() - start[0], time.process_time() - start[1]]), flush=True)
"""
MEASURE_MEMORY = """
import resource, sys
from cot_compressor.compress import compress_file
compress_file(sys.argv[1], sys.argv[2], ratios=[0.2, 0.4], scorer=sys.argv[3], tokenizer=sys.argv[4])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def checkpoint(folder: Path, encoder: Path) -> Path:
    """MiniLM with a random head, as both sides read it."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_pretrained(encoder, num_labels=2)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    settings = {"format": 1, "max_length": 512, "labels": {"0": "drop", "1": "keep"}}
    (folder / "compressor.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def timed(work: Callable[[], Any]) -> list[float]:
    """Wall seconds and processor seconds."""
    start = time.perf_counter(), time.process_time()
    work()
    return [time.perf_counter() - start[0], time.process_time() - start[1]]


def outside_model(compressor: Compressor, rows: list[dict[str, Any]], ratios: list[float]) -> float:
    """Share of the processor time that is not spent in the model."""
    inside = 0.0
    model = compressor.scorer.model  # type: ignore[attr-defined]
    forward = model.forward

    def counted(*positional: Any, **named: Any) -> Any:
        nonlocal inside
        start = time.process_time()
        try:
            return forward(*positional, **named)
        finally:
            inside += time.process_time() - start

    model.forward = counted
    total = timed(
        lambda: list(compressor.compress_many([(row["question"], row["cot"]) for row in rows], ratios=ratios))
    )
    model.forward = forward
    return 1 - inside / total[1]


def memory(folder: Path, model: Path, rows: list[dict[str, Any]], copies: int) -> float:
    """Peak memory in MiB of compressing a file with so many copies of the rows."""
    source = folder / f"{copies}.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for copy in range(copies):
            for row in rows:
                file.write(json.dumps({**row, "id": f"{row['id']}-{copy}", "cot": row["cot"][:1000]}) + "\n")
    command = [sys.executable, "-c", MEASURE_MEMORY, source, source.with_suffix(".out.jsonl"), model, model]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def tables(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"{result['texts']} real traces, {result['characters']} characters, {result['threads']} threads.",
        "",
        "| | characters/s | by processor time | × llmlingua (least to most over the texts) | by processor time |",
        "|---|---|---|---|---|",
    ]
    for name, entry in result["methods"].items():
        cells = [f"{entry['per_second']:.0f}", f"{entry['per_processor_second']:.0f}"]
        for clock in ("ratio", "processor_ratio"):
            values = entry[clock]
            cells.append(f"{values['total']:.2f} ({values['low']:.2f} to {values['high']:.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    outside, peak = result["outside_model"], result["memory"]
    lines += [
        "",
        f"Outside the model: {outside['one']:.1%} of the processor time at one ratio, {outside['five']:.1%} at five. "
        f"Peak memory: {peak['1']:.0f} MiB for {result['memory_rows']} traces, {peak['8']:.0f} MiB for "
        f"{8 * result['memory_rows']}.",
    ]
    return "\n".join(lines)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("../shared/data"), show_default=True)
@click.option("--peers", type=click.Path(path_type=Path), default=DEFAULT, help="Where llmlingua and MiniLM are kept.")
@click.option("--texts", default=12, show_default=True, help="Traces, evenly spread over the file.")
@click.option("--threads", default=2, show_default=True)
def main(data_dir: Path, peers: Path, texts: int, threads: int) -> None:
    """Print and record the figures."""
    data = data_dir / "traces_math_train.jsonl.gz"
    if not data.is_file():
        print(f"skipped: no {data.name} in {data_dir}; give --data-dir")
        return
    torch.set_num_threads(threads)
    with gzip.open(data, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = rows[:: len(rows) // texts][:texts]
    for row in rows:
        row["cot"] = row["cot"][:20_000]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = checkpoint(folder / NAME, minilm(peers))
        trained, rules = Compressor.from_pretrained(model), Compressor.from_pretrained("rules", tokenizer=model)
        rounded = Compressor.from_pretrained(export_folder(model, folder / "int8"))
        llmlingua = subprocess.Popen(
            [environment(peers, "llmlingua", *PACKAGES), "-c", WORKER, model, str(threads)],
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        to, back = llmlingua.stdin, llmlingua.stdout
        assert to is not None
        assert back is not None
        while back.readline() != "ready\n":
            assert llmlingua.poll() is None, "llmlingua did not start"

        def theirs(row: dict[str, Any], ratios: list[float]) -> list[float]:
            to.write(json.dumps([row["cot"], ratios]) + "\n")
            to.flush()
            return json.loads(back.readline())

        def ours(compressor: Compressor, row: dict[str, Any], ratios: list[float]) -> list[float]:
            return timed(lambda: list(compressor.compress_many([(row["question"], row["cot"])], ratios=ratios)))

        runs: dict[str, tuple[str, Callable[[dict[str, Any]], list[float]]]] = {
            "llmlingua, one ratio": ("llmlingua, one ratio", lambda row: theirs(row, ONE)),
            "classifier, one ratio": ("llmlingua, one ratio", lambda row: ours(trained, row, ONE)),
            "classifier as int8 ONNX, one ratio": ("llmlingua, one ratio", lambda row: ours(rounded, row, ONE)),
            "rules, one ratio": ("llmlingua, one ratio", lambda row: ours(rules, row, ONE)),
            "llmlingua, five ratios": ("llmlingua, five ratios", lambda row: theirs(row, RATIOS)),
            "classifier, five ratios": ("llmlingua, five ratios", lambda row: ours(trained, row, RATIOS)),
            "classifier as int8 ONNX, five ratios": ("llmlingua, five ratios", lambda row: ours(rounded, row, RATIOS)),
            "rules, five ratios": ("llmlingua, five ratios", lambda row: ours(rules, row, RATIOS)),
        }
        for _, run in runs.values():
            run({**rows[0], "cot": rows[0]["cot"][:2000]})
        seconds = {name: [] for name in runs}
        for row in rows:
            for name, (_, run) in runs.items():
                seconds[name].append(run(row))
        to.close()
        llmlingua.wait()
        characters = sum(len(row["cot"]) for row in rows)
        methods: dict[str, Any] = {}
        for name, (peer, _) in runs.items():
            totals = [sum(column) for column in zip(*seconds[name], strict=True)]
            entry: dict[str, Any] = {
                "per_second": characters / totals[0],
                "per_processor_second": characters / totals[1],
            }
            for at, clock in enumerate(("ratio", "processor_ratio")):
                pairs = zip(seconds[peer], seconds[name], strict=True)
                total = sum(one[at] for one in seconds[peer]) / totals[at]
                entry[clock] = {"total": total, **spread([one[at] / other[at] for one, other in pairs])}
            methods[name] = entry
        result = {
            "texts": len(rows),
            "characters": characters,
            "threads": threads,
            "methods": methods,
            "outside_model": {
                "one": outside_model(trained, rows, ONE),
                "five": outside_model(trained, rows, RATIOS),
            },
            "memory_rows": len(rows),
            "memory": {str(copies): memory(folder, model, rows, copies) for copies in (1, 8)},
        }
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
