"""How processor time and peak memory of each stage grow with traces, length of a trace, processes and model size.

Every point is one command of a package on generated input. The command runs in a process of its own, whose processor
time and largest resident memory the system counts. Start-up is measured on ten rows and subtracted before the exponent
is fitted. Models are random Qwen3 with the quickstart's tokenizer. docs/how-to/several-gpus.md uses the figures.

    python benchmarks/examples_scaling.py                             # everything, about 15 minutes
    python benchmarks/examples_scaling.py --stage "ratio-sft build"   # measure one stage, keep the others as recorded
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import linear_regression
from typing import Any

from recording import RESULTS, record
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "quickstart"))
from problems import NAMES, THINGS, write_trace

Row = dict[str, Any]
LADDER = (0.5, 1.0)
START_ROWS, SHORT = 10, 2
LONG_ROWS, PROCESS_ROWS = 200, 20_000
MODELS = ((128, 3), (256, 5), (512, 7))
"""Width and layers; about 0.6, 4 and 22 million parameters."""
TRAIN_TRACES, TRAIN_STEPS, LONGEST = 32, 8, 8192


def problems(count: int, steps: int) -> Iterator[Row]:
    """Distinct questions whose answer takes `steps` steps; the thinking of two steps has about 40 tokens."""
    for index in range(count):
        rng = random.Random(index)
        value = start = rng.randint(20, 80)
        changes: list[int] = []
        equations: list[str] = []
        for _ in range(steps):
            change = rng.randint(1, 9) * (1 if value < 50 else -1)
            equations.append(f"{value} {'+' if change > 0 else '-'} {abs(change)} = {value + change}")
            changes.append(change)
            value += change
        kind = "dense" if steps == SHORT else "wordy"
        story = {"kind": kind, "name": rng.choice(NAMES), "things": rng.choice(THINGS), "start": start}
        problem = {"id": f"{index:06}", "answer": str(value), "equations": equations}
        thinking, response = write_trace({**problem, "story": {**story, "changes": changes}}, rng)
        question = f"Box {index} holds {start} {story['things']}. Then {changes} go in or out. How many are in it?"
        yield {"id": problem["id"], "question": question, "answer": str(value), "cot": thinking, "response": response}


def traces(count: int, steps: int) -> Iterator[Row]:
    """Rows of the traces contract."""
    return ({**row, "model": "generated", "correct": True, "sample": 0} for row in problems(count, steps))


def compressed(count: int, steps: int) -> Iterator[Row]:
    """Rows of the compressed contract: the first half of the words, and all of them."""
    for row in traces(count, steps):
        words = row["cot"].split()
        entries = []
        for ratio in LADDER:
            kept = words[: round(ratio * len(words))]
            counts = {"tokens": len(kept), "original_tokens": len(words), "achieved_ratio": len(kept) / len(words)}
            text = " ".join(kept)
            entries.append({"ratio": ratio, "text": text, "spans": [[0, len(text)]], "tokenizer": "words", **counts})
        yield {**row, "compressions": entries}


def samples(count: int, steps: int, ratios: Iterable[float | None] = (None,), draws: int = 1) -> Iterator[Row]:
    """`count` rows of the samples contract, all correct, with `draws` rows of each problem at each ratio."""
    asked = [(ratio, draw) for ratio in ratios for draw in range(draws)]
    for row in problems(math.ceil(count / len(asked)), steps):
        cot, response = row.pop("cot"), row.pop("response")
        words = len(cot.split())
        for ratio, draw in asked:
            yield {
                **row,
                "task": "generated",
                "model": "generated",
                "prompt": row["question"],
                "completion": f"<think>\n{cot}\n</think>\n\n{response}",
                "finish_reason": "stop",
                "thinking_tokens": words,
                "completion_tokens": words + 10,
                "extracted": row["answer"],
                "verdict": "correct",
                "ratio": ratio,
                "seed": 0,
                "sample": draw,
                "latency_s": 1.0,
                "truncated": False,
                "batch": 0,
            }


def completions(count: int, steps: int) -> Iterator[Row]:
    """Rows that `math-eval grade` reads."""
    for row in samples(count, steps):
        yield {"id": row["id"], "gold": row["answer"], "completion": row["completion"]}


def write(path: Path, rows: Iterable[Row]) -> Path:
    """Write JSON Lines row by row. This process must stay small: a child's peak memory is never below its parent's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def write_model(folder: Path, width: int, layers: int) -> None:
    """A random Qwen3 of this shape; runs in a process of its own, because it loads torch."""
    import torch
    from base_model import build_tokenizer
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = LONGEST
    shape = {"hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": layers, "head_dim": 32}
    shape |= {"num_attention_heads": width // 32, "num_key_value_heads": width // 64}
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        max_position_embeddings=LONGEST,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Inputs:
    """Writes the input of each stage and returns the command that reads it.

    Args:
        folder: Folder of the inputs; the caller empties it after each point.
        models: Folder of the models, one for each shape.
    """

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder, self.models = folder, models

    def model(self, width: int, layers: int) -> Path:
        """The folder of a random model."""
        folder = self.models / f"{width}x{layers}"
        if not folder.exists():
            process = get_context("spawn").Process(target=write_model, args=(folder, width, layers))
            process.start()
            process.join()
        return folder

    def export(self, rows: int, steps: int) -> str:
        """A finished run folder."""
        run = self.folder / "run"
        write(run / "samples_generated.jsonl", samples(rows, steps))
        sampler = {"temperature": 0.0, "top_p": 1.0, "max_tokens": LONGEST, "samples": 1, "seeds": [0], "limit": None}
        settings = {"tasks": {"generated": ""}, "ratios": [None], "instruction": "", **sampler}
        manifest = {
            "command": "math-eval run",
            "settings": settings,
            "model": "generated",
            "environment": {},
            "sources": {"generated": {}},
        }
        (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        (run / "results.json").write_text("{}", "utf-8")
        return f"math-eval export traces {run} {self.folder}/out.jsonl"

    def report(self, rows: int, steps: int) -> str:
        """The same run folder, for a report page."""
        self.export(rows, steps)
        return f"math-eval report base={self.folder}/run --output {self.folder}/report.html"

    def grade(self, rows: int, steps: int) -> str:
        """Completions whose answers are whole numbers."""
        return f"math-eval grade {write(self.folder / 'in.jsonl', completions(rows, steps))} {self.folder}/out.jsonl"

    def compress(self, rows: int, steps: int, launch: str = "cot-compressor") -> str:
        """Traces that rules compress to two budgets."""
        source = write(self.folder / "in.jsonl", traces(rows, steps))
        ladder = " ".join(f"--ratio {ratio}" for ratio in LADDER)
        return f"{launch} compress {source} {self.folder}/out.jsonl {ladder} --tokenizer {self.model(*MODELS[0])}"

    def processes(self, rows: int, count: int) -> str:
        """The same with several processes."""
        launch = f"torchrun --standalone --nproc_per_node {count} -m cot_compressor"
        return self.compress(rows, SHORT, launch)

    def build(self, rows: int, steps: int) -> str:
        """Traces at two ratios."""
        return f"ratio-sft build {write(self.folder / 'in.jsonl', compressed(rows, steps))} {self.folder}/mix"

    def prepare(self, rows: int, steps: int) -> str:
        """Six samples of each problem, and their ladder."""
        tokens = {"format": 1, "ratios": {"<COMP_50>": 0.5, "<COMP_100>": 1.0}, "policy": "<COMP_POLICY>"}
        (self.folder / "control_tokens.json").write_text(json.dumps(tokens), "utf-8")
        source = write(self.folder / "in.jsonl", samples(rows, steps, LADDER, 3))
        return f"chrpo prepare {source} {self.folder}/prompts.jsonl --checkpoint {self.folder}"

    def sft(
        self, model: tuple[int, int], steps: int = SHORT, updates: int = TRAIN_STEPS, rows: int = TRAIN_TRACES
    ) -> str:
        """A mixture of traces of this length, and a model to train for `updates` steps of two rows."""
        for command in (self.compress(rows, steps), f"ratio-sft build {self.folder}/out.jsonl {self.folder}/mix"):
            measure(command)
        return (
            f"ratio-sft train {self.folder}/mix {self.folder}/sft --model {self.model(*model)} --max-steps {updates} "
            f"--batch-size 2 --save-steps {updates} --max-length {LONGEST}"
        )

    def rl(self, model: tuple[int, int], updates: int = TRAIN_STEPS) -> str:
        """Prompts, and a checkpoint to train for `updates` steps of 2 prompts with 4 rollouts of 48 tokens."""
        measure(self.sft(model, updates=1))
        measure(self.prepare(96, SHORT))
        return (
            f"chrpo train {self.folder}/prompts.jsonl {self.folder}/rl --model {self.folder}/sft --max-steps {updates} "
            f"--prompts-per-step 2 --rollouts 4 --max-tokens 48 --save-steps {updates}"
        )


def measure(command: str) -> dict[str, float]:
    """Run a command of this environment; its processor and wall seconds, and the peak of its largest process in MiB."""
    program, *words = command.split()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        child = subprocess.Popen(
            [str(Path(sys.executable).parent / program), *words], stdout=output, stderr=output, env=environment
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            output.seek(0)
            raise RuntimeError(f"{command}: {output.read().decode(errors='replace')[-2000:]}")
    return {
        "seconds": usage.ru_utime + usage.ru_stime,
        "wall": time.monotonic() - start,
        "peak_mib": usage.ru_maxrss / 1024,
    }


@dataclass(frozen=True)
class Series:
    """One stage and the quantity that grows; `make(inputs, None)` returns the command that measures start-up."""

    stage: str
    grows: str
    sizes: tuple[int, ...]
    make: Callable[[Inputs, int | None], str]


Files = Callable[[Inputs, int, int], str]


def by_traces(stage: str, make: Files, unit: str = "traces") -> Series:
    """A series over up to 100 000 short rows."""
    return Series(stage, unit, (3000, 17_000, 100_000), lambda inputs, size: make(inputs, size or START_ROWS, SHORT))


def by_length(stage: str, make: Files) -> Series:
    """A series over a few rows whose thinking has up to about 4000 tokens."""

    def command(inputs: Inputs, size: int | None) -> str:
        return make(inputs, LONG_ROWS if size else START_ROWS, size or SHORT)

    return Series(stage, "steps a trace", (4, 20, 120), command)


def parameters(width: int, layers: int) -> int:
    """Number of parameters in the layers of such a Qwen3, without the embedding of a few hundred words."""
    return layers * width * (3 * width + 9 * width)


BY_PARAMETERS = {parameters(*model): model for model in MODELS}
SERIES = (
    by_traces("math-eval export traces", Inputs.export, "samples"),
    by_traces("math-eval grade", Inputs.grade, "completions"),
    by_traces("math-eval report", Inputs.report, "samples"),
    by_traces("cot-compressor compress", Inputs.compress),
    by_traces("ratio-sft build", Inputs.build),
    by_traces("chrpo prepare", Inputs.prepare, "samples"),
    by_length("math-eval grade", Inputs.grade),
    by_length("cot-compressor compress", Inputs.compress),
    by_length("ratio-sft build", Inputs.build),
    Series(
        "cot-compressor compress",
        "processes",
        (1, 2),
        lambda inputs, size: inputs.processes(PROCESS_ROWS if size else START_ROWS, size or 1),
    ),
    by_traces("ratio-sft train", lambda inputs, rows, steps: inputs.sft(MODELS[0], steps, 1, rows)),
    Series(
        "ratio-sft train",
        "steps a trace",
        (4, 20, 120),
        lambda inputs, size: inputs.sft(MODELS[0], size or SHORT, TRAIN_STEPS if size else 1),
    ),
    Series(
        "ratio-sft train",
        "parameters",
        tuple(BY_PARAMETERS),
        lambda inputs, size: inputs.sft(BY_PARAMETERS[size]) if size else inputs.sft(MODELS[0], updates=1),
    ),
    Series(
        "chrpo train",
        "parameters",
        tuple(BY_PARAMETERS),
        lambda inputs, size: inputs.rl(BY_PARAMETERS[size]) if size else inputs.rl(MODELS[0], updates=1),
    ),
)


def run(series: Series, models: Path) -> Row:
    """Measure start-up and every point of a series."""
    points: list[Row] = []
    for size in tqdm((None, *series.sizes), desc=f"{series.stage}, {series.grows}", leave=False):
        with tempfile.TemporaryDirectory() as folder:
            points.append({"size": size, **measure(series.make(Inputs(Path(folder), models), size))})
    start, *points = points
    return {"stage": series.stage, "grows": series.grows, "start": start, "points": points}


def exponent(row: Row) -> float:
    """The slope of log(processor seconds above start-up) over log(size)."""
    above = [(point["size"], point["seconds"] - row["start"]["seconds"]) for point in row["points"]]
    sizes, seconds = zip(*((math.log(size), math.log(max(spent, 0.01))) for size, spent in above), strict=True)
    return linear_regression(sizes, seconds).slope


def tables(result: Row) -> str:
    """One line for each series."""
    lines = [
        "| stage | what grows | start-up, s | processor seconds above it | exponent | start-up, MiB | peak, MiB "
        "| KiB for each |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["series"]:
        start, points = row["start"], row["points"]
        first, last = points[0], points[-1]
        each = 1024 * (last["peak_mib"] - first["peak_mib"]) / (last["size"] - first["size"])
        cells = [
            row["stage"],
            f"{row['grows']}: {_list([point['size'] for point in points])}",
            f"{start['seconds']:.1f}",
            _list([point["seconds"] - start["seconds"] for point in points], 1),
            f"{exponent(row):.2f}",
            f"{start['peak_mib']:.0f}",
            _list([point["peak_mib"] for point in points]),
            _list([each], 1),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    walls = [
        f"{row['stage']} with {_list([point['size'] for point in row['points']])} processes: "
        f"{_list([point['wall'] for point in row['points']], 1)} seconds of wall time."
        for row in result["series"]
        if row["grows"] == "processes"
    ]
    return "\n".join([*lines, "", *walls])


def _list(values: Iterable[float], digits: int = 0) -> str:
    return ", ".join(f"{value:,.{digits}f}".replace(",", " ") for value in values)


def main() -> None:
    """Measure the named stages, or all of them, and record the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted({series.stage for series in SERIES})
    parser.add_argument(
        "--stage",
        dest="stages",
        action="append",
        choices=names,
        help="stage to measure; repeatable",
    )
    wanted = parser.parse_args().stages
    recorded = RESULTS / f"{Path(__file__).stem}.json"
    kept = json.loads(recorded.read_text("utf-8"))["result"]["series"] if wanted and recorded.is_file() else []
    known = {(row["stage"], row["grows"]): row for row in kept}
    with tempfile.TemporaryDirectory() as models:
        for series in SERIES:
            if not wanted or series.stage in wanted:
                known[series.stage, series.grows] = run(series, Path(models))
    order = [(series.stage, series.grows) for series in SERIES]
    result = {"series": [known[name] for name in order if name in known]}
    record(__file__, result, tables)


if __name__ == "__main__":
    main()
