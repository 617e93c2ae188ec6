"""The commands that `toolkit_kills` kills, their undisturbed runs, and the comparison of an output with theirs.

The commands run on the tiny model of tests/conftest.py, each on what the ones before it wrote. How they are started
and killed is left to `kill_processes`.

    runs = undisturbed(Path("runs/kills/whole"))
    contents(runs[1].place, runs[1].made)           # {'traces.jsonl': [{'id': 'sum/0', …}, …], …}
"""

import json
import re
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kill_processes import codes, log_of, start, watch

ROOT = Path(__file__).parents[1]
_LADDER = "--ratio 0.2 --ratio 0.6 --ratio 1.0"
_TRAINING = "--learning-rate 3e-3 --batch-size 6"
COMMANDS = (
    "math-eval run --model base --tasks problems.jsonl --max-tokens 160 --samples 4 --temperature 0.3 --batch-size 8"
    " --output-dir run_base",
    "math-eval export traces run_base traces.jsonl",
    "cot-compressor annotate traces.jsonl annotated.jsonl --annotator rules",
    "cot-compressor train annotated.jsonl compressor --encoder encoder --epochs 3",
    f"cot-compressor compress traces.jsonl compressed.jsonl {_LADDER} --scorer compressor --tokenizer base",
    "ratio-sft build compressed.jsonl mix --tolerance 0.2",
    f"ratio-sft train mix sft --model base --max-steps 60 --save-steps 5 {_TRAINING}",
    f"math-eval run --model sft --tasks problems.jsonl {_LADDER} --samples 3 --temperature 1 --max-tokens 130"
    " --batch-size 8 --output-dir run_sft",
    "math-eval grade run_sft run_graded",
    "math-eval grade completions.jsonl graded.jsonl",
    "chrpo prepare run_sft/samples_problems.jsonl prompts.jsonl --checkpoint sft",
    "chrpo train prompts.jsonl chrpo --model sft --max-steps 4 --save-steps 1 --prompts-per-step 2 --rollouts 6"
    " --learning-rate 1e-5",
)
"""The stages of the pipeline; each reads what the ones before it wrote."""
_INPUTS = ("problems.jsonl", "completions.jsonl", "base", "encoder")
_COMPLETIONS = 3000
_LONGEST_S = 900.0
_TIME = re.compile("(^|_)(ms|s|seconds?|time|date|latency)(_|$)")


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run of one command.

    Args:
        place: Its folder.
        made: Names of its outputs.
        begin: Seconds from the start to the first change in the folder.
    """

    place: Path
    made: list[str]
    begin: float


def undisturbed(whole: Path) -> list[Undisturbed]:
    """Run every command once, in one process, in the folder `whole`. Runs of an earlier call are used again."""
    record = whole / "runs.json"
    if not record.is_file():
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir(parents=True)
        _make_inputs(whole)
        runs = [run(whole, command, "alone") for command in COMMANDS]
        record.write_text(json.dumps([{**asdict(each), "place": None} for each in runs]), "utf-8")
    return [Undisturbed(**{**fields, "place": whole}) for fields in json.loads(record.read_text("utf-8"))]


def _make_inputs(folder: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from tests.conftest import PROBLEMS, build_base, problem, write_rows

    problems = [problem(number) for number in range(PROBLEMS)]
    write_rows(folder / "problems.jsonl", problems)
    build_base(folder / "base", problems)
    completions = [
        {"id": str(number), "gold": str(number), "completion": rf"\boxed{{{number - number % 3}}}"}
        for number in range(_COMPLETIONS)
    ]
    write_rows(folder / "completions.jsonl", completions)


def undisturbed_ranks(folder: Path, runs: list[Undisturbed], number: int) -> Undisturbed:
    """Run one command with two processes that share its work. The run of an earlier call is used again."""
    place = folder / f"whole_ranks_{number}"
    record = place / "log.json"
    if not record.is_file():
        link_inputs(place, runs, number)
        fields = {**asdict(run(place, COMMANDS[number], "ranks")), "place": None}
        record.write_text(json.dumps(fields), "utf-8")
    return Undisturbed(**{**json.loads(record.read_text("utf-8")), "place": place})


def run(place: Path, command: str, way: str) -> Undisturbed:
    """Run one command undisturbed, in a folder with its inputs.

    Raises:
        SystemExit: it failed.
    """
    before = set(place.iterdir())
    processes = start(command, place, way)
    begin, _ = watch(processes, place, _LONGEST_S)
    if codes(processes) != [0]:
        raise SystemExit(f"{command}: exit codes {codes(processes)}\n{log_of(place)[-2000:]}")
    made = sorted(path.name for path in set(place.iterdir()) - before if not path.name.startswith("log"))
    return Undisturbed(place, made, begin)


def link_inputs(place: Path, runs: list[Undisturbed], number: int) -> None:
    """Make an empty folder with links to everything that a command may read."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name in (*_INPUTS, *(name for each in runs[:number] for name in each.made)):
        (place / name).symlink_to(runs[0].place / name)


def written(place: Path) -> list[str]:
    """The names of what a command wrote: its inputs are links."""
    return sorted(path.name for path in place.iterdir() if not (path.name.startswith("log") or path.is_symlink()))


def partial(place: Path, expected: dict[str, Any]) -> list[str]:
    """What is under a final name and differs from the end; working files do not count."""
    visible = {name: content for name, content in contents(place, written(place)).items() if not _unfinished(name)}
    return sorted(name for name, content in visible.items() if content != expected.get(name))


def differing(place: Path, expected: dict[str, Any]) -> list[str]:
    """The files of an ended output that are missing, too many, or not as expected."""
    found = contents(place, written(place))
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


def _unfinished(name: str) -> bool:
    return any(part.startswith(".") or ".partial" in part for part in Path(name).parts)


def contents(folder: Path, names: list[str]) -> dict[str, Any]:
    """Every file of the outputs by its path, JSON without the fields that contain a time."""
    files = [path for name in names for path in (folder / name, *sorted((folder / name).rglob("*")))]
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
