"""Starts a command as a user does or in a process that has its libraries, sees when its work begins, and kills it.

A command is started alone, as two copies, or as two ranks that share its work. What is killed when, and what must hold
afterwards, is left to `toolkit_kills`.

    processes = start("math-eval export traces run_base traces.jsonl", Path("place"), "alone")
    watch(processes, Path("place"), 60.0)           # (0.41, 0.003): begin and length of the work, in seconds
"""

import importlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_LIBRARIES = (
    "math_eval.backends.hf",
    "cot_compressor.training.trainer",
    "cot_compressor.scorers.classifier",
    "ratio_sft.training.trainer",
    "chrpo.trl.build",
    "transformers.models.bert.modeling_bert",
    "transformers.models.qwen3.modeling_qwen3",
)
"""What takes the commands seconds to import."""
_CHANGES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
"""Events of Python before a change in a folder."""
_PAUSE_S = 0.003
Started = subprocess.Popen[bytes] | ForkServerProcess


def start(command: str, place: Path, way: str, *, warm: bool = False) -> list[Started]:
    """Start a command in a folder; its output goes to files there whose names begin with `log`.

    Args:
        command: Program and its arguments.
        place: Working directory.
        way: "alone", "copies" (the same command twice) or "ranks" (two processes share the work).
        warm: Start from a process that has imported the libraries, instead of the program or torchrun.

    Returns:
        The processes: torchrun if it starts the ranks, otherwise the commands themselves.
    """
    (place / "log1").unlink(missing_ok=True)  # of an earlier start with two processes
    if not warm and way == "ranks":
        program, *words = command.split()
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
        return [_open([*torchrun, program.replace("-", "_"), *words], place / "log")]
    count, shared = 1 if way == "alone" else 2, _shared(2) if way == "ranks" else [{}, {}]
    logs = [place / f"log{number or ''}" for number in range(count)]
    if warm:
        return [_fork(command, log, environment) for log, environment in zip(logs, shared, strict=False)]
    program, *words = command.split()
    return [_open([str(Path(sys.executable).with_name(program)), *words], log) for log in logs]


def _open(words: list[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as file:
        return subprocess.Popen(
            words, cwd=log.parent, env={**os.environ, **ENVIRONMENT}, stdout=file, stderr=file, start_new_session=True
        )


def _shared(count: int) -> list[dict[str, str]]:
    """What torchrun puts into the environment of each rank."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    sizes = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    return [{**rank, **sizes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} for rank in ranks]


def start_counted(command: str, place: Path, last: int = 0) -> tuple[Started, Any]:
    """Start a command that counts its changes: files and folders opened for writing, renamed or removed.

    Args:
        command: Program and its arguments.
        place: Working directory.
        last: Number of the change before which it kills itself; 0 lets it end.

    Returns:
        The process, and the number of its changes so far as `.value`.
    """
    changes = multiprocessing.get_context("forkserver").Value("i", 0)
    return _fork(command, place / "log", {}, changes, last), changes


def _fork(command: str, log: Path, environment: dict[str, str], changes: Any = None, last: int = 0) -> Started:
    os.environ.update(ENVIRONMENT)  # for the server, which imports the libraries
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LIBRARIES))
    process = context.Process(target=_be, args=(command, log, environment, changes, last))
    process.start()
    return process


def _be(command: str, log: Path, environment: dict[str, str], changes: Any, last: int) -> None:
    """Become the command."""
    os.setsid()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(log.parent)
    if changes is not None:
        _count(changes, last, str(log.parent))
    program, *words = command.split()
    importlib.import_module(f"{program.replace('-', '_')}.cli").cli(words, prog_name=program)


def _count(changes: Any, last: int, place: str) -> None:
    command = os.getpid()

    def see(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _CHANGES or (event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if os.getpid() != command:  # a child that it forked
            return
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else place
        if os.path.isabs(path) and not path.startswith(place):
            return
        changes.value += 1
        if changes.value == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(see)


def code(process: Started) -> int | None:
    """Exit code of a process, None as long as it runs."""
    return process.poll() if isinstance(process, subprocess.Popen) else process.exitcode


def codes(processes: Sequence[Started]) -> list[int | None]:
    """Exit codes of several processes."""
    return [code(process) for process in processes]


def log_of(place: Path) -> str:
    """What the processes of the latest start wrote."""
    return "".join(path.read_text("utf-8", "replace") for path in sorted(place.glob("log*")) if path.suffix != ".json")


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; False if it does not within the time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE_S)
    return True


def ended(processes: Sequence[Started], seconds: float) -> bool:
    """Wait until all processes have ended."""
    return wait(lambda: None not in codes(processes), seconds)


def snapshot(place: Path) -> dict[str, tuple[int, ...]]:
    """Number, size and time of change of every file that is no log, and of every folder."""
    found: dict[str, tuple[int, ...]] = {}
    folders = [str(place)]
    while folders:
        with suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_symlink() or entry.name.startswith("log"):
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found[entry.path] = (status.st_ino, status.st_size, status.st_mtime_ns)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return found


def watch(processes: Sequence[Started], place: Path, seconds: float) -> tuple[float, float]:
    """Wait until all processes have ended; returns when their work began and how long it took, in seconds."""
    first = begin = last = time.monotonic()
    seen, changes = snapshot(place), 0
    while None in codes(processes) and time.monotonic() - first < seconds:
        now = snapshot(place)
        if now != seen:
            seen, last, changes = now, time.monotonic(), changes + 1
            begin = last if changes == 1 else begin
        time.sleep(_PAUSE_S)
    return begin - first, last - begin


def wait_for_moment(processes: Sequence[Started], place: Path, seconds: float, *, early: bool) -> bool | None:
    """Wait for the moment of a kill.

    Args:
        processes: What was started.
        place: Folder in which they work.
        seconds: Time to wait after the first change in the folder; after the start if `early`.
        early: Whether the moment is to be before the work.

    Returns:
        Whether the work had begun at this moment, None if all processes ended before it.
    """
    before, begun, since = snapshot(place), False, time.monotonic()
    while None in codes(processes):
        if not begun and snapshot(place) != before:
            begun = True
            since = since if early else time.monotonic()
        if (early or begun) and time.monotonic() - since >= seconds:
            return begun
        time.sleep(_PAUSE_S)
    return None


def send(processes: Sequence[int], kind: signal.Signals) -> None:
    """Send a signal to each, one directly after the other."""
    for number in processes:
        with suppress(ProcessLookupError):
            os.kill(number, kind)


def children(parent: int) -> list[int]:
    """The processes that a process started and that have not ended."""
    return [number for number, (above, state) in _processes().items() if above == parent and state not in "ZX"]


def descendants(parents: Sequence[int]) -> list[int]:
    """Every process that these started, directly or not."""
    processes, found = _processes(), list(parents)
    for parent in found:  # grows
        found += [number for number, (above, _) in processes.items() if above == parent]
    return found[len(parents) :]


def alive(processes: Sequence[int]) -> list[int]:
    """Those that have not ended."""
    running = _processes()
    return [number for number in processes if number in running and running[number][1] not in "ZX"]


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and state of every process of this machine."""
    found: dict[int, tuple[int, str]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent, *_ = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
            found[int(stat.parent.name)] = (int(parent), state)
    return found
