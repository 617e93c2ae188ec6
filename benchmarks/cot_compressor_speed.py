"""Compares the speed with llmlingua 0.2.2: the same token classifier and the same texts, alternating in one run.

The classifier is MiniLM with a head of random weights, because speed does not depend on training. Each text is
compressed by llmlingua and by this package at one ratio and at five (llmlingua once for each ratio), and by `rules`.
The token table of llmlingua, which it would download, comes from a wheel. A second part compresses a file of short
texts and a file of eight times as many, and prints the peak memory of both.

    OMP_WAIT_POLICY=passive python benchmarks/cot_compressor_speed.py --texts 36 --threads 2

On a shared machine this variable keeps waiting threads from counting as busy.
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
from peers import DEFAULT, environment, minilm, wheel_file
from recording import data_dir_option, record, spread
from tqdm import tqdm

from cot_compressor import Compressor
from cot_compressor.scorers.export import export_folder

SHARES = {"one ratio": [0.3], "five ratios": [0.1, 0.2, 0.4, 0.6, 0.8]}
PACKAGES = ("torch==2.13.0", "llmlingua==0.2.2")
# tiktoken's cl100k_base under the name its cache gives it; tiktoken compares the checksum.
TABLE = ("litellm==1.110.2", "litellm/litellm_core_utils/tokenizers/9b5ad71b2ce5302211f9c61530b329a4922fc6a4")
MEMORY_ROWS = 128
MEMORY_CHARACTERS = 300
INSTRUCTIONS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
"""The processor instructions that speed depends on."""
BF16 = {"avx512_bf16", "amx_bf16"}
"""The instructions without which bf16 takes hours where fp32 takes minutes."""
# The name makes llmlingua take the folder for one of its own models.
NAME = "bert-base-multilingual-cased-minilm"
WORKER = """
import json, sys, time, torch
torch.set_num_threads(int(sys.argv[2]))
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
Run = Callable[[dict[str, Any]], list[float]]
MEASURE_MEMORY = """
import resource, sys
from cot_compressor import compress_file
compress_file(sys.argv[1], sys.argv[2], ratios=[0.2, 0.4], scorer=sys.argv[3], tokenizer=sys.argv[4])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def instructions() -> list[str]:
    """The names in `INSTRUCTIONS` that this processor supports."""
    able = torch.cpu.get_capabilities()
    return [name for name in INSTRUCTIONS if able.get(name)]


def checkpoint(folder: Path, encoder: Path) -> Path:
    """Write MiniLM with a random head as a folder that both sides can read."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    torch.manual_seed(0)
    safe = {"local_files_only": True, "trust_remote_code": False}
    model = AutoModelForTokenClassification.from_pretrained(encoder, num_labels=2, use_safetensors=True, **safe)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder, **safe).save_pretrained(folder)
    settings = {"format": 1, "max_length": 512, "labels": {"0": "drop", "1": "keep"}}
    (folder / "compressor.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def timed(work: Callable[[], Any]) -> list[float]:
    """Wall seconds and processor seconds."""
    start = time.perf_counter(), time.process_time()
    work()
    return [time.perf_counter() - start[0], time.process_time() - start[1]]


class Inside:
    """Wall seconds and processor seconds spent in a model so far."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.seconds = [0.0, 0.0]
        self._forward = model.forward
        model.forward = self._counted

    def _counted(self, *positional: Any, **named: Any) -> Any:
        outputs: list[Any] = []
        spent = timed(lambda: outputs.append(self._forward(*positional, **named)))
        self.seconds = [before + more for before, more in zip(self.seconds, spent, strict=True)]
        return outputs[0]


class Llmlingua:
    """llmlingua in an environment and a process of its own."""

    def __init__(self, peers: Path, model: Path, threads: int) -> None:
        settings = {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": str(threads),
            "TIKTOKEN_CACHE_DIR": str(wheel_file(peers, *TABLE).parent),
        }
        self._process = subprocess.Popen(
            [environment(peers, "llmlingua", *PACKAGES), "-c", WORKER, model, str(threads)],
            env={**os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._back = self._process.stdin, self._process.stdout
        while self._back.readline() != "ready\n":
            assert self._process.poll() is None, "llmlingua did not start"

    def run(self, ratios: list[float]) -> Run:
        """A function that compresses a row at each ratio, one after the other."""

        def one(row: dict[str, Any]) -> list[float]:
            self._to.write(json.dumps([row["cot"], ratios]) + "\n")
            self._to.flush()
            return json.loads(self._back.readline())

        return one

    def close(self) -> None:
        """End the process."""
        self._to.close()
        self._process.wait()


def interleaved(
    rows: list[dict[str, Any]], runs: dict[str, Run], inside: dict[str, Inside]
) -> tuple[dict[str, list[list[float]]], dict[str, list[list[float]]]]:
    """Seconds of every run on every row, and for the runs in `inside` the seconds outside the model."""
    for run in runs.values():
        run({**rows[0], "cot": rows[0]["cot"][:2000]})
    seconds: dict[str, list[list[float]]] = {name: [] for name in runs}
    outside: dict[str, list[list[float]]] = {name: [] for name in inside}
    for row in tqdm(rows, unit="text", leave=False):
        for name, run in runs.items():
            before = inside[name].seconds if name in inside else []
            seconds[name].append(run(row))
            if name in inside:
                spent = zip(seconds[name][-1], before, inside[name].seconds, strict=True)
                outside[name].append([whole - (end - start) for whole, start, end in spent])
    return seconds, outside


def memory(folder: Path, model: Path, rows: list[dict[str, Any]], count: int) -> float:
    """Peak memory in MiB of compressing a file of `count` short texts, with the rows repeated."""
    source = folder / f"{count}.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for at in range(count):
            row = rows[at % len(rows)]
            file.write(json.dumps({**row, "id": str(at), "cot": row["cot"][:MEMORY_CHARACTERS]}) + "\n")
    command = [sys.executable, "-c", MEASURE_MEMORY, source, source.with_suffix(".out.jsonl"), model, model]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compared(peer: list[list[float]], own: list[list[float]]) -> list[dict[str, float]]:
    """The speed divided by the peer's, by wall clock and by processor time: in total, and its range over the texts."""
    found: list[dict[str, float]] = []
    for at in range(2):
        total = sum(one[at] for one in peer) / sum(one[at] for one in own)
        found.append({"total": total, **spread([one[at] / two[at] for one, two in zip(peer, own, strict=True)])})
    return found


def times(values: dict[str, float]) -> str:
    """A ratio and its range as a cell of a table."""
    return f"{values['total']:.2f} ({values['low']:.2f} to {values['high']:.2f})"


def tables(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"{result['texts']} real traces, {result['characters']} characters, {result['threads']} threads, "
        f"a processor with {', '.join(result['instructions'])}.",
        "",
        "| | characters/s | by processor time | × llmlingua (least to most over the texts) | by processor time |",
        "|---|---|---|---|---|",
    ]
    for name, entry in result["methods"].items():
        cells = [f"{entry['per_second']:.0f}", f"{entry['per_processor_second']:.0f}"]
        lines.append(f"| {name} | {' | '.join([*cells, *map(times, entry['ratios'])])} |")
    lines += [
        "",
        "| | × the classifier in fp32 | by processor time |",
        "|---|---|---|",
    ]
    for name, ratios in result["beside_fp32"].items():
        lines.append(f"| {name} | {' | '.join(map(times, ratios))} |")
    lines += ["", "| | outside the model | by processor time |", "|---|---|---|"]
    for name, shares in result["outside_model"].items():
        cells = [f"{one['total']:.1%} ({one['low']:.1%} to {one['high']:.1%})" for one in shares]
        lines.append(f"| classifier, {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "Peak memory of the classifier: "
        + ", ".join(f"{peak:.0f} MiB for {count} texts" for count, peak in result["memory"].items())
        + ".",
    ]
    return "\n".join(lines)


@click.command()
@data_dir_option
@click.option(
    "--peers", type=click.Path(path_type=Path), default=DEFAULT, help="Folder in which llmlingua and MiniLM are stored."
)
@click.option("--texts", default=36, show_default=True, help="Number of traces, evenly spread over the file.")
@click.option("--threads", default=2, show_default=True, help="Number of threads.")
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
        export_folder(model, folder / "int8")
        faster: dict[str, tuple[Path, str | None]] = {"classifier as int8 ONNX": (folder / "int8", None)}
        if BF16.intersection(instructions()):
            faster["classifier in bf16"] = (model, "bfloat16")
        llmlingua = Llmlingua(peers, model, threads)

        def ours(scorer: str | Path, ratios: list[float], dtype: str | None = None) -> tuple[Compressor, Run]:
            # One compressor for each run, so that no run uses token counts stored by another.
            compressor = Compressor.from_pretrained(scorer, tokenizer=model, dtype=dtype)
            return compressor, lambda row: timed(
                lambda: list(compressor.compress_many([(row["question"], row["cot"])], ratios=ratios))
            )

        runs: dict[str, Run] = {}
        inside: dict[str, Inside] = {}
        for name, ratios in SHARES.items():
            runs[f"llmlingua, {name}"] = llmlingua.run(ratios)
            compressor, runs[f"classifier, {name}"] = ours(model, ratios)
            inside[f"classifier, {name}"] = Inside(compressor.scorer.model)  # type: ignore[attr-defined]
            for kind, (scorer, dtype) in faster.items():
                _, runs[f"{kind}, {name}"] = ours(scorer, ratios, dtype)
            _, runs[f"rules, {name}"] = ours("rules", ratios)
        seconds, outside = interleaved(rows, runs, inside)
        llmlingua.close()
        characters = sum(len(row["cot"]) for row in rows)
        methods: dict[str, Any] = {}
        for name, measured in seconds.items():
            wall, processor = (sum(column) for column in zip(*measured, strict=True))
            methods[name] = {
                "per_second": characters / wall,
                "per_processor_second": characters / processor,
                "ratios": compared(seconds["llmlingua, " + name.rpartition(", ")[2]], measured),
            }
        result = {
            "texts": len(rows),
            "characters": characters,
            "threads": threads,
            "instructions": instructions(),
            "methods": methods,
            "beside_fp32": {
                f"{kind}, {name}": compared(seconds[f"classifier, {name}"], seconds[f"{kind}, {name}"])
                for kind in faster
                for name in SHARES
            },
            "outside_model": {
                name: compared(outside[f"classifier, {name}"], seconds[f"classifier, {name}"]) for name in SHARES
            },
            "memory": {str(count): memory(folder, model, rows, count) for count in (MEMORY_ROWS, 8 * MEMORY_ROWS)},
        }
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
