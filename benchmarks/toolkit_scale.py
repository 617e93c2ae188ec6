"""How the data stages grow: one process against a Ray cluster of two workers, with kills of a worker and of the run.

The corpus has conversations in 64 shards of Parquet, made from real traces of at most 1,200 characters by giving every
number of a row other digits. `compress`, `build` and `grade` run in one process and on Ray; the rows of both must be
the same. Then a million short rows are compressed on Ray, and memory is read at a tenth, a half and the end. What is
finished in FOLDER is not repeated. Every Ray process of the machine is ended after a kill.

    python benchmarks/toolkit_scale.py runs/scale --tokenizer runs/SmolLM2-135M-Instruct --data-dir DATA --rows 2000
"""

import gzip
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
from recording import data_dir_option, record

from cot_compressor._shared.row_files import shards

SHARDS, MAX_CHARS = 64, 1200
TRACES = ("traces_math_train.jsonl.gz", "traces_general.jsonl.gz")
COLUMNS = 'answer=solution,correct:=true,sample:=0,model:="rewritten"'
RATIOS = ("--ratio", "0.4", "--ratio", "1.0")
STAGES = ("compress", "build", "grade")
SHORT_ROWS, READ_AT = 1_000_000, {"a tenth": 0.1, "a half": 0.5, "the end": 1.0}
KILL_WORKER_AT, KILL_RUN_AT = SHARDS // 8, SHARDS // 2
_NUMBER = re.compile(r"\d+")
_WAIT_S = 0.2


def corpus(folder: Path, data: Path, rows: int) -> None:
    """Write the shards."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    traces = []
    for name in TRACES:
        with gzip.open(data / name, "rt", encoding="utf-8") as lines:
            traces += [trace for trace in map(json.loads, lines) if len(trace["cot"]) <= MAX_CHARS and trace["answer"]]
    growing = folder.with_name(f".{folder.name}")
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(parents=True)
    for shard in range(SHARDS):
        numbers = range(rows * shard // SHARDS, rows * (shard + 1) // SHARDS)
        made = [rewritten(traces[number % len(traces)], number) for number in numbers]
        pq.write_table(pa.Table.from_pylist(made), growing / f"part-{shard:02}.parquet")
    growing.rename(folder)


def rewritten(trace: dict[str, Any], seed: int) -> dict[str, Any]:
    """A conversation in which every number has other digits, the same ones wherever it stands."""
    draw, known = random.Random(seed), dict[str, str]()

    def other(found: re.Match[str]) -> str:
        number = found[0]
        if number not in known:
            known[number] = str(draw.randint(10 ** (len(number) - 1), 10 ** len(number) - 1))
        return known[number]

    question, cot, response, answer = (
        _NUMBER.sub(other, trace[name]) for name in ("question", "cot", "response", "answer")
    )
    turns = [
        {"role": "user", "content": f"{question} (case {seed})"},
        {"role": "assistant", "content": f"<think>\n{cot}\n</think>\n\n{response}"},
    ]
    return {"messages": turns, "solution": answer}


def command(stage: str, folder: Path, engine: str, tokenizer: Path) -> tuple[list[str], Path]:
    """The command of a stage, and its output."""
    out = folder / (f"{stage}-ray" if engine == "ray" else f"{stage}.parquet")
    conversations = ["--messages", "messages", "--columns"]
    options = {
        "compress": [*RATIOS, "--tokenizer", str(tokenizer), *conversations, COLUMNS],
        "build": ["--heldout-share", "0.01"],
        "grade": [*conversations, "gold=solution"],
    }[stage]
    source = folder / "compress-ray" if stage == "build" else folder / "corpus"
    program = {"compress": "cot-compressor", "build": "ratio-sft", "grade": "math-eval"}[stage]
    out = folder / "mix" if stage == "build" and engine == "local" else out
    spread = ["--engine", "ray", "--workers", "2"] if engine == "ray" else []
    return [str(Path(sys.executable).with_name(program)), stage, str(source), str(out), *options, *spread], out


class Watch:
    """Measures the memory of a command's processes, and kills where it is asked."""

    def __init__(self, line: list[str], log: Path) -> None:
        self.most = {"driver": 0, "worker": 0}
        self._used: dict[int, float] = {}
        with log.open("ab") as output:
            self.process = subprocess.Popen(line, stdout=output, stderr=output, start_new_session=True)

    def wait(self, at: Callable[[], None] = lambda: None) -> int:
        """Wait for the end; `at` is called again and again."""
        while self.process.poll() is None:
            for process in self.workers():
                self._measure("worker", process)
            self._measure("driver", psutil.Process(self.process.pid))
            self._read_seconds()
            at()
            time.sleep(_WAIT_S)
        return self.process.returncode

    def _measure(self, name: str, process: psutil.Process) -> None:
        with suppress(psutil.Error):  # it has ended
            self.most[name] = max(self.most[name], process.memory_info().rss)

    def _read_seconds(self) -> None:
        with suppress(psutil.Error):
            command = psutil.Process(self.process.pid)
            for process in (command, *command.children(recursive=True)):
                with suppress(psutil.Error):
                    times = process.cpu_times()
                    self._used[process.pid] = times.user + times.system

    @property
    def processor_seconds(self) -> float:
        """Seconds of processor that the command and the processes that it started have used, as last read."""
        return sum(self._used.values())

    @staticmethod
    def workers() -> list[psutil.Process]:
        """The processes of Ray that make outputs."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if any("MapWorker" in word for word in process.info["cmdline"] or ()):
                found.append(process)
        return found


def done_shards(stage: str, out: Path) -> int:
    """Number of finished shards; those of the first pass of `build` count half."""
    if stage != "build":
        return len(list(out.glob("*.manifest.json")))
    partial = out.with_name(f".{out.name}.partial")
    return sum(len(list(partial.glob(f"work/{name}/*.found.json"))) for name in ("surveys", "counts")) // 2


def run_ray(stage: str, folder: Path, tokenizer: Path, *, kill: bool) -> dict[str, Any]:
    """Run a stage on Ray; with `kill`, a worker is killed and then the whole run, which is started again."""
    line, out = command(stage, folder, "ray", tokenizer)
    killed: list[str] = []
    seconds, most = 0.0, {"driver": 0, "worker": 0}
    for _ in range(1 + kill):
        watch, start = Watch(line, folder / f"{stage}-ray.log"), time.monotonic()

        def strike(watch: Watch = watch) -> None:
            finished = done_shards(stage, out)
            if kill and not killed and finished >= KILL_WORKER_AT and (workers := watch.workers()):
                workers[0].kill()
                killed.append("worker")
            elif killed == ["worker"] and finished >= KILL_RUN_AT:
                os.killpg(watch.process.pid, signal.SIGKILL)
                killed.append("run")

        code = watch.wait(strike)
        seconds += time.monotonic() - start
        most = {name: max(size, watch.most[name]) for name, size in most.items()}
        if code and not (code == -signal.SIGKILL and killed[-1:] == ["run"]):
            raise click.ClickException(f"{' '.join(line)}: exit {code}; see {folder}/{stage}-ray.log")
        if not code:
            break
        stop = [str(Path(sys.executable).with_name("ray")), "stop", "--force"]
        subprocess.run(stop, capture_output=True, check=False)
    if kill and killed != ["worker", "run"]:
        raise click.ClickException(f"{stage}: killed {killed}, not worker and run; it was too quick")
    return {"seconds": seconds, "memory": most, "killed": killed}


def run_local(stage: str, folder: Path, tokenizer: Path) -> dict[str, Any]:
    """Run a stage in one process; `cores` is the mean number of processors that it keeps busy, children included."""
    line, _ = command(stage, folder, "local", tokenizer)
    watch, start = Watch(line, folder / f"{stage}-local.log"), time.monotonic()
    if code := watch.wait():
        raise click.ClickException(f"{' '.join(line)}: exit {code}; see {folder}/{stage}-local.log")
    seconds = time.monotonic() - start
    return {"seconds": seconds, "cores": watch.processor_seconds / seconds, "memory": watch.most}


def digests(path: Path, drop: str = "") -> list[bytes]:
    """A digest of each row of a file or folder, in order."""

    def each() -> Iterator[bytes]:
        for shard in shards(path):
            for _, row in shard.values():
                row.pop(drop, None)
                yield hashlib.sha256(json.dumps(row).encode()).digest()

    return list(each())


def same_rows(stage: str, folder: Path) -> int:
    """Number of rows of a stage, which must be those of both engines.

    Raises:
        ClickException: they differ.
    """
    if stage == "build":
        one = [sorted(digests(folder / "mix" / f"{side}.jsonl")) for side in ("train", "heldout")]
        ray = [sorted(digests(folder / "build-ray" / side)) for side in ("train", "heldout")]
        one, ray = one[0] + one[1], ray[0] + ray[1]
    else:
        one, ray = (digests(folder / f"{stage}{end}", "grade_ms") for end in (".parquet", "-ray"))
    if one != ray:
        raise click.ClickException(f"{folder}: the rows of {stage} differ between one process and Ray")
    return len(one)


def mean_characters(folder: Path) -> float:
    """Mean number of characters of the conversations in the first shard."""
    first, *_ = shards(folder)
    return float(np.mean([sum(len(turn["content"]) for turn in row["messages"]) for _, row in first.values()]))


def remove_unfinished(stage: str, folder: Path) -> None:
    """Remove what an interrupted measurement of a stage left, so that all of its work is measured."""
    for engine in ("local", "ray"):
        _, out = command(stage, folder, engine, folder)
        for path in (out, out.with_name(f".{out.name}.partial"), out.with_name(f"{out.name}.manifest.json")):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def measure(folder: Path, data: Path, tokenizer: Path, rows: int, *, kill: bool) -> dict[str, Any]:
    """All stages at one number of rows; what is finished is read from the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "corpus").is_dir():
        corpus(folder / "corpus", data, rows)
    given = folder / "corpus"
    result: dict[str, Any] = {"rows": rows, "bytes": size_of(given), "characters": mean_characters(given), "stages": {}}
    for stage in STAGES:
        kept = folder / f"{stage}.json"
        if not kept.is_file():
            remove_unfinished(stage, folder)
            spread = run_ray(stage, folder, tokenizer, kill=kill)
            one = run_local(stage, folder, tokenizer)
            outs = [command(stage, folder, engine, tokenizer)[1] for engine in ("local", "ray")]
            found = {"local": one, "ray": spread, "written": same_rows(stage, folder), "bytes": size_of(outs[1])}
            kept.write_text(json.dumps(found))
        result["stages"][stage] = json.loads(kept.read_text())
        print(f"{rows} rows, {stage}: {result['stages'][stage]}", flush=True)
    return result


def short_corpus(folder: Path, rows: int) -> None:
    """Write shards of short rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    growing = folder.with_name(f".{folder.name}")
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(parents=True)
    for shard in range(SHARDS):
        made = []
        for number in range(rows * shard // SHARDS, rows * (shard + 1) // SHARDS):
            one, two = number % 97, number % 89
            cot = f"First I add {one} and {two}. {one} + {two} = {one + two}. Let me check that. So it is {one + two}."
            made.append({"id": f"{number}", "question": f"What is {one} + {two}?", "cot": cot})
        pq.write_table(pa.Table.from_pylist(made), growing / f"part-{shard:02}.parquet")
    growing.rename(folder)


def measure_short(folder: Path, tokenizer: Path) -> dict[str, Any]:
    """Memory of the processes while SHORT_ROWS rows are compressed on Ray, MiB."""
    kept = folder / "short.json"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "corpus").is_dir():
            short_corpus(folder / "corpus", SHORT_ROWS)
        shutil.rmtree(out := folder / "short", ignore_errors=True)
        line = [str(Path(sys.executable).with_name("cot-compressor")), "compress", str(folder / "corpus"), str(out)]
        line += [*RATIOS, "--tokenizer", str(tokenizer), "--engine", "ray", "--workers", "2"]
        watch, start, memory = Watch(line, folder / "short.log"), time.monotonic(), dict[str, dict[str, int]]()

        def read() -> None:
            finished = done_shards("compress", out) / SHARDS
            for name, share in READ_AT.items():
                if finished >= min(share, 1 - 1 / SHARDS) and name not in memory:
                    driver = psutil.Process(watch.process.pid).memory_info().rss >> 20
                    workers = [process.memory_info().rss >> 20 for process in watch.workers()]
                    memory[name] = {"driver": driver, "worker": max(workers, default=0)}

        if code := watch.wait(read):
            raise click.ClickException(f"{' '.join(line)}: exit {code}; see {folder}/short.log")
        kept.write_text(json.dumps({"rows": SHORT_ROWS, "seconds": time.monotonic() - start, "memory": memory}))
    return json.loads(kept.read_text())


def tables(result: dict[str, Any]) -> str:
    """Seconds, speed-up, rows a second and memory of each stage; then the exponents of growth."""
    lines = [
        "| rows | stage | one process, s | its cores | rows/s | two workers, s | faster | one process, MiB "
        "| worker, MiB | kills |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for size in result["sizes"]:
        for stage, found in size["stages"].items():
            one, ray = found["local"], found["ray"]
            cores = one.get("cores")
            lines.append(
                f"| {size['rows']} | {stage} | {one['seconds']:.0f} | {f'{cores:.1f}' if cores else ''} | "
                f"{size['rows'] / one['seconds']:.0f} | "
                f"{ray['seconds']:.0f} | {one['seconds'] / ray['seconds']:.2f} x | {one['memory']['driver'] >> 20} | "
                f"{ray['memory']['worker'] >> 20} | {' and '.join(ray['killed']) or 'nothing'} |"
            )
    lines.append("")
    for stage, power in result["exponents"].items():
        lines.append(f"- {stage}, one process: seconds grow as rows to the power of {power:.2f}.")
    if (short := result["short"]) is None:
        lines.append("- The million short rows are not measured yet.")
        return "\n".join(lines)
    read = "; ".join(
        f"{name}: {memory['driver']} and {memory['worker']} MiB" for name, memory in short["memory"].items()
    )
    lines.append(
        f"- {short['rows']:,} short rows through `compress --engine ray` in {short['seconds']:.0f} s, with other work "
        f"on the machine. Memory of the command and of a worker at {read}."
    )
    return "\n".join(lines)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@data_dir_option
@click.option("--tokenizer", type=click.Path(exists=True, path_type=Path), required=True, help="Folder of a tokenizer.")
@click.option("--rows", "sizes", type=int, multiple=True, default=(2000, 20_000, 200_000), show_default=True)
@click.option("--kill-from", default=20_000, show_default=True, help="Number of rows from which processes are killed.")
@click.option("--million/--no-million", default=True, help="Compress a million short rows, too: an hour.")
def main(
    folder: Path, data_dir: Path, tokenizer: Path, sizes: tuple[int, ...], kill_from: int, *, million: bool
) -> None:
    """Measure every size in FOLDER, and record it."""
    found = [measure(folder / f"{rows}", data_dir, tokenizer, rows, kill=rows >= kill_from) for rows in sorted(sizes)]
    logs = np.log([size["rows"] for size in found])
    exponents = {
        stage: float(np.polyfit(logs, np.log([size["stages"][stage]["local"]["seconds"] for size in found]), 1)[0])
        for stage in STAGES
        if len(found) > 1
    }
    short = measure_short(folder / "short", tokenizer) if million else None
    record(__file__, {"sizes": found, "exponents": exponents, "short": short}, tables)


if __name__ == "__main__":
    main()
