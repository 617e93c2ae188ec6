"""Kills every long command at random moments, lets it end, and compares the end with that of an undisturbed run.

The commands run on the tiny model of tests/conftest.py. A command is killed (SIGKILL) again and again in one output,
and repeated as it was; when it ended, a new output is begun, until all kills are done. No output under its final name
may ever be partial, and every end must equal the undisturbed one byte for byte, apart from fields that contain a time.

    python tools/kill_test.py runs/kills                          # 20 kills of each command
    python tools/kill_test.py runs/kills --kills 5 --only "ratio-sft train" --processes 2
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_LADDER = "--ratio 0.2 --ratio 0.6 --ratio 1.0"
_TRAINING = "--learning-rate 3e-3 --batch-size 6"
COMMANDS = (
    "math-eval run --model base --tasks problems.jsonl --max-tokens 160 --samples 4 --temperature 0.3"
    " --output-dir run_base",
    "math-eval export traces run_base traces.jsonl",
    "cot-compressor annotate traces.jsonl annotated.jsonl --annotator rules",
    "cot-compressor train annotated.jsonl compressor --encoder encoder --epochs 3",
    f"cot-compressor compress traces.jsonl compressed.jsonl {_LADDER} --scorer compressor --tokenizer base",
    "ratio-sft build compressed.jsonl mix --tolerance 0.2",
    f"ratio-sft train mix sft --model base --max-steps 60 --save-steps 5 {_TRAINING}",
    f"math-eval run --model sft --tasks problems.jsonl {_LADDER} --samples 3 --temperature 1 --max-tokens 130"
    " --output-dir run_sft",
    "math-eval grade run_sft run_graded",
    "chrpo prepare run_sft/samples_problems.jsonl prompts.jsonl --checkpoint sft",
    "chrpo train prompts.jsonl chrpo --model sft --max-steps 4 --save-steps 1 --prompts-per-step 2 --rollouts 6"
    " --learning-rate 1e-5",
)
"""The stages of the pipeline; each reads what the ones before it wrote."""
SHARED_OUT = ("cot-compressor train", "cot-compressor compress", "ratio-sft train", "chrpo train")
"""The commands that several processes can do together."""
_TIME = re.compile("(^|_)(s|seconds?|time|date|latency)(_|$)")
_END_S = 900.0
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_INPUTS = ("problems.jsonl", "base", "encoder")


@dataclass
class Tally:
    """What was seen of one command."""

    kills: int = 0
    late: int = 0
    """Attempts that ended before they could be killed."""
    ends: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run of one command: its folder, the names of its outputs, and the seconds that it took."""

    place: Path
    made: list[str]
    seconds: float


def main() -> int:
    """Run all commands undisturbed, then each with kills; returns 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Folder for all files; undisturbed runs in it are used again.")
    parser.add_argument("--kills", type=int, default=20, help="Number of kills of each command.")
    parser.add_argument("--only", action="append", default=[], help="Beginning of the commands to kill; repeatable.")
    parser.add_argument("--processes", type=int, default=1, help="Number of processes that torchrun starts.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed for the moments.")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.resolve()
    runs = pipeline(folder / "whole")
    draw, faults = random.Random(options.seed), 0
    for number, command in enumerate(COMMANDS):
        if options.only and not command.startswith(tuple(options.only)):
            continue
        if options.processes > 1 and not command.startswith(SHARED_OUT):
            continue
        tally = Tally()
        whole = runs[number] if options.processes == 1 else together(folder, runs, number, options.processes)
        while tally.kills < options.kills and len(tally.faults) < options.kills:
            place = folder / f"killed_{options.processes}_{number}_{tally.ends}"
            link_inputs(place, runs, number)
            disturb(place, whole, number, draw, tally, options)
        faults += len(tally.faults)
        name = " ".join(command.split()[:2])
        print(f"{name}: {tally.kills} kills, {tally.ends} ends, {tally.late} too late, {len(tally.faults)} faults")
        for fault in tally.faults:
            print(f"  {fault}")
        sys.stdout.flush()
    return int(faults > 0)


def pipeline(whole: Path) -> list[Undisturbed]:
    """Run every command once, in one process, in one folder. Runs of an earlier call are used again."""
    record = whole / "runs.json"
    if not record.is_file():
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        os.environ.update(_ENVIRONMENT)
        sys.path.insert(0, str(ROOT))
        from tests.conftest import PROBLEMS, build_base, problem, write_rows

        problems = [problem(number) for number in range(PROBLEMS)]
        write_rows(whole / "problems.jsonl", problems)
        build_base(whole / "base", problems)
        runs = [run(whole, number, 1) for number in range(len(COMMANDS))]
        record.write_text(json.dumps([[each.made, each.seconds] for each in runs]), "utf-8")
    return [Undisturbed(whole, made, seconds) for made, seconds in json.loads(record.read_text("utf-8"))]


def together(folder: Path, runs: list[Undisturbed], number: int, processes: int) -> Undisturbed:
    """Run one command with several processes."""
    place = folder / f"whole_{processes}_{number}"
    link_inputs(place, runs, number)
    return run(place, number, processes)


def link_inputs(place: Path, runs: list[Undisturbed], number: int) -> None:
    """Make an empty folder with links to everything that a command may read."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name in (*_INPUTS, *(name for each in runs[:number] for name in each.made)):
        (place / name).symlink_to(runs[0].place / name)


def run(place: Path, number: int, processes: int) -> Undisturbed:
    """Run one command undisturbed.

    Raises:
        SystemExit: it failed.
    """
    before, start = set(place.iterdir()), time.monotonic()
    code = launch(COMMANDS[number], place, processes).wait(_END_S)
    if code:
        raise SystemExit(f"{COMMANDS[number]}: exit code {code}\n{(place / 'log').read_text('utf-8')[-2000:]}")
    made = sorted(path.name for path in set(place.iterdir()) - before if path.name != "log")
    return Undisturbed(place, made, time.monotonic() - start)


def launch(command: str, folder: Path, processes: int) -> "subprocess.Popen[bytes]":
    """Start a command in `folder`; its output goes to the file `log` there."""
    program, *words = command.split()
    if processes > 1 and command.startswith(SHARED_OUT):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        start = [*torchrun, "-m", program.replace("-", "_")]
    else:
        start = [str(Path(sys.executable).with_name(program))]
    environment = {**os.environ, **_ENVIRONMENT}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [*start, *words], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def disturb(
    place: Path, whole: Undisturbed, number: int, draw: random.Random, tally: Tally, options: argparse.Namespace
) -> None:
    """Begin one output, kill its command until it ends or all kills are done, let it end, and compare."""
    command, expected, code = COMMANDS[number], contents(whole.place, whole.made), None
    while tally.kills < options.kills and code is None:
        process = launch(command, place, options.processes)
        try:
            code = process.wait(draw.uniform(0, 1.05) * whole.seconds)
            tally.late += 1
        except subprocess.TimeoutExpired:
            kill(process, one=options.processes > 1 and draw.random() < 0.5, draw=draw)
            tally.kills += 1
            tally.faults += [f"{place.name}: after a kill: {fault}" for fault in partial(place, expected)]
    if code is None:
        code = launch(command, place, options.processes).wait(_END_S)
    if code:
        tally.faults.append(f"{place.name}: exit code {code}; see {place / 'log'}")
        return
    tally.ends += 1
    found = contents(place, written(place))
    differing = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if differing:
        tally.faults.append(f"{place.name}: another end: {', '.join(differing)}")
    else:
        shutil.rmtree(place)


def kill(process: "subprocess.Popen[bytes]", *, one: bool, draw: random.Random) -> None:
    """Kill the command with all its processes; or only one of them, and the others when they had time to notice."""
    every = [process.pid, *descendants(process.pid)]
    if one and len(every) > 1:
        signal_all([draw.choice(every[1:])])
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        every += descendants(process.pid)
    signal_all(every)
    process.wait()


def signal_all(processes: list[int]) -> None:
    """Send SIGKILL to each."""
    for number in processes:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue


def descendants(parent: int) -> list[int]:
    """Every process that a process started, directly or not."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, left = [], [parent]
    while left:
        left += children.get(left[0], [])
        found.append(left.pop(0))
    return found[1:]


def written(place: Path) -> list[str]:
    """The names of what the command wrote: its inputs are links."""
    return sorted(path.name for path in place.iterdir() if path.name != "log" and not path.is_symlink())


def partial(place: Path, expected: dict[str, Any]) -> list[str]:
    """What is under a final name and differs from the end; working files do not count."""
    visible = {name: content for name, content in contents(place, written(place)).items() if not unfinished(name)}
    return [f"{name} is partial" for name, content in visible.items() if content != expected.get(name)]


def unfinished(name: str) -> bool:
    """Whether a name is that of a working file."""
    return any(part.startswith(".") or ".partial" in part for part in Path(name).parts)


def contents(folder: Path, names: list[str]) -> dict[str, Any]:
    """Every file of the outputs by its path, JSON without the fields that contain a time."""
    files = [path for name in names for path in ([folder / name], sorted((folder / name).rglob("*"))) for path in path]
    return {str(path.relative_to(folder)): _content(path) for path in files if path.is_file()}


def _content(path: Path) -> Any:
    content = path.read_bytes()
    if path.suffix not in {".json", ".jsonl"}:
        return content
    try:
        return [_timeless(json.loads(text)) for text in ([content] if path.suffix == ".json" else content.splitlines())]
    except ValueError:
        return content


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(inner) for name, inner in value.items() if not _TIME.search(name)}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
