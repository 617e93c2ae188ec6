# copied from packages/_shared/ray_shards.py; edit it there
"""A command over the shards of a corpus, spread over the machines of a Ray cluster with Ray Data.

Each shard of the input becomes an output of the same name, made by the function that makes an output in one process: so
it is complete or not there, an interrupted one is continued, and one that is there is not made again. Ray starts a
worker that died anew and gives it the same shard. What is done with a shard is left to the callers. It needs ray.

    job = ShardJob("cot-compressor compress", "corpus", "short", partial(compress_conversion, ratios=(0.2,), …))
    print(job.run(workers=8, gpu=False, notify=print).summary())
"""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import click

from ..errors import DISTRIBUTION, DataError
from .addresses import Address, is_remote
from .records import Tally, path_beside
from .row_files import becomes_shard, shards
from .runs import MANIFEST, check_apart, read_manifest_on_store, resolve_state, write_manifest
from .settings_flags import Command

Counts = dict[str, Any]
"""`read`, `written` and `rejected`, the latter by reason; perhaps `kinds`, the written rows by kind, and `was_there`,
whether an earlier run made the output."""
Make = Callable[[], Callable[[str, str], Counts]]
"""A function that loads what a worker needs; the result makes an output (second) of a shard (first)."""
_PACKAGES = ("ray",)
_ENGINES = ("local", "ray")
_SHOWN_CHARS = 300


def engine_options(command: Command) -> Command:
    """A decorator that adds `--engine` and `--workers`."""
    engine = click.option(
        "--engine",
        type=click.Choice(_ENGINES),
        default="local",
        show_default=True,
        help="Place of the work: this process; or ray, which makes a file for each shard of IN in a folder, on the "
        "cluster that RAY_ADDRESS names, one that runs here, or the processors of this machine.",
    )
    workers = click.option(
        "--workers", type=click.IntRange(1), help="Number of workers (ray). Default: one for each processor or GPU."
    )
    return engine(workers(command))


def check_engine(engine: str, workers: int | None) -> None:
    """Check the values of `engine_options`, before anything is written.

    Raises:
        DataError: the engine is unknown, or ray and not installed; or there are workers, and the engine is not ray.
    """
    if engine not in _ENGINES:
        raise DataError(f"engine must be local or ray; got {engine!r}")
    if workers is not None and engine != "ray":
        raise DataError("--workers is for --engine ray; drop it, or add that")
    if engine == "ray" and find_spec("ray") is None:
        raise DataError(f"--engine ray needs ray: pip install '{DISTRIBUTION}[ray]'")


class Outcome(NamedTuple):
    """What became of a shard.

    Args:
        shard: Name of its file; empty if the worker could not start.
        seconds: Seconds that it took.
        counts: Numbers of rows; None if it failed.
        fault: What is wrong with it; None if nothing is.
    """

    shard: str
    seconds: float
    counts: Counts | None
    fault: str | None


@dataclass
class Report:
    """Sums over all shards.

    Args:
        shards: Number of shards.
    """

    shards: int
    seconds: float = 0.0
    """Seconds from the start of the first shard to the end of the last one."""
    tally: Tally = field(default_factory=Tally)
    made: int = 0
    """Number of rows read in this run."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Number of written rows of each kind that the command distinguishes."""
    slowest: tuple[str, float] = ("", 0.0)
    """Name and seconds of the slowest shard."""
    faults: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Add a shard."""
        self.slowest = max(self.slowest, (outcome.shard, outcome.seconds), key=lambda each: each[1])
        if outcome.counts is None:
            self.faults.append(f"{outcome.shard}: {outcome.fault}")
        else:
            self.tally.add(outcome.counts)
            self.made += 0 if outcome.counts.get("was_there") else outcome.counts["read"]
            self.kinds.update(outcome.counts.get("kinds", {}))

    def facts(self) -> dict[str, Any]:
        """The sums as JSON values."""
        rows = {"read": self.tally.read, "written": self.tally.written, "rejected": self.tally.reasons}
        return {
            "rows": {**rows, "kinds": dict(self.kinds)} if self.kinds else rows,
            "seconds": round(self.seconds, 3),
            "slowest": {"shard": self.slowest[0], "seconds": round(self.slowest[1], 3)},
        }

    def summary(self) -> str:
        """One line for the terminal."""
        rate = self.made / self.seconds if self.seconds else 0.0
        return (
            f"{self.tally.summary()}; {self.shards} shards in {self.seconds:.1f} s, {rate:.0f} rows/s, the slowest "
            f"{self.slowest[0]} in {self.slowest[1]:.1f} s"
        )


@dataclass(frozen=True)
class ShardJob:
    """One run of a command over the shards of a corpus.

    Args:
        command: Program and sub-command.
        source: A folder of shards, here or on an object store; every worker reads it.
        out: Folder for the outputs, likewise; every worker writes it.
        make: Function that a worker calls once; see `Make`.
        overwrite: Replace outputs made with other settings.
        may_be_empty: Whether it is no error that nothing is written, and outputs need not have the names of shards.
    """

    command: str
    source: str | Path
    out: str | Path
    make: Make
    overwrite: bool = False
    may_be_empty: bool = False

    def run(self, *, workers: int | None, gpu: bool, notify: Callable[[str], object]) -> Report:
        """Make the outputs that are missing.

        Args:
            workers: Number of workers; None takes one for each processor of the cluster, or for each GPU.
            gpu: Whether a worker uses a GPU, where the cluster has any.
            notify: Function that gets a line about each shard that failed.

        Returns:
            The sums over all shards, those that were there already too.

        Raises:
            DataError: ray is not installed or cannot go on, the output folder contains something else, shards failed,
                after all the others were made, nothing was written, or this process does not see what workers made.
        """
        check_engine("ray", workers)
        from .progress import progress_bar

        found = [shard.file for shard in shards(self.source)]
        names = [file.name for file in found]
        check_apart([f"{self.out}/{name}" for name in names], [self.source])
        beside = Counter(path_beside(name, "").name for name in names)
        if twice := [name for name in names if beside[path_beside(name, "").name] > 1]:
            raise DataError(f"{self.source}: {twice[0]} and {twice[1]} differ in their ending alone; rename one")
        self.begin(names)
        report, start = Report(len(names)), time.monotonic()
        with progress_bar(total=len(names), unit="shard", desc=self.command) as progress:
            for outcome in self._outcomes([str(file) for file in found], workers, gpu):
                report.add(outcome)
                if outcome.fault:
                    notify(report.faults[-1])
                progress.set_postfix_str(f"{report.tally.read} rows")
                progress.update()
        report.seconds = time.monotonic() - start
        if report.faults:
            raise DataError(
                f"{self.out}: {len(report.faults)} of {len(names)} shards failed; repeat the command for them"
            )
        if not (report.tally.written or self.may_be_empty):
            fault = f"no row fits ({report.tally.summary()})" if report.tally.read else "no rows"
            raise DataError(f"{self.source}: {fault}; see --columns and --messages")
        self._check_seen(names)
        self._write_manifest(names, report.facts())
        return report

    def begin(self, names: list[str]) -> None:
        """Refuse an output folder that contains something else, and mark it as this command's."""
        folder = Address(self.out)
        if is_remote(self.out):
            self._check_command(folder)
        else:
            manifest = Path(self.out) / MANIFEST
            resolve_state(manifest, self.command, {"shards": names}, done=None, overwrite=self.overwrite)
        for file, _ in folder.entries() if folder.is_folder() else ():
            if becomes_shard(str(file), self.out) and file.name not in names:
                raise DataError(f"{file}: no shard of {self.source} has this name; move it away")
        self._write_manifest(names, {})

    def _check_command(self, folder: Address) -> None:
        """Refuse a folder on an object store that has the manifest of another command."""
        manifest = Address(f"{self.out}/{MANIFEST}")
        if not manifest.is_file():
            return
        command = read_manifest_on_store(manifest)["command"]
        if command != self.command:
            raise DataError(f"{folder}: written by {command}, not by {self.command}; name another output")

    def _check_seen(self, names: list[str]) -> None:
        """Refuse to end while outputs are not where this process sees them, though workers have made them."""
        if is_remote(self.out) or self.may_be_empty:
            return
        if lost := [name for name in names if not Path(self.out, name).is_file()]:
            raise DataError(
                f"{self.out}: {len(lost)} of {len(names)} shards, such as {lost[0]}, were made by workers and are not "
                "there; name a folder that all machines share, or repeat the command if the file system lags"
            )

    def _write_manifest(self, names: list[str], facts: dict[str, Any]) -> None:
        with TemporaryDirectory() as here:
            folder = Path(here if is_remote(self.out) else self.out)
            write_manifest(folder / MANIFEST, self.command, {"shards": names}, _PACKAGES, **facts)
            if is_remote(self.out):
                Address(f"{self.out}/{MANIFEST}").upload(folder / MANIFEST)

    def _outcomes(self, files: list[str], workers: int | None, gpu: bool) -> Iterator[Outcome]:
        """What becomes of each shard, in the order in which they are done."""
        import ray
        import ray.data
        from ray.exceptions import RayError

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        on_gpu = gpu and ray.cluster_resources().get("GPU", 0) >= 1
        most = int(ray.cluster_resources().get("GPU" if on_gpu else "CPU", 1))
        found = ray.data.from_items([{"file": file} for file in files], override_num_blocks=len(files))
        worker: Any = _Worker
        done = found.map(
            worker,
            fn_constructor_args=(self.make, str(self.out), os.getcwd()),
            concurrency=max(1, min(workers or most, len(files))),
            num_cpus=1,
            num_gpus=1 if on_gpu else 0,
        )
        try:
            for row in done.iter_rows():
                outcome = Outcome(*json.loads(row["outcome"]))
                if not outcome.shard:
                    raise DataError(f"a worker cannot start ({outcome.fault}); mend that, and repeat the command")
                yield outcome
        except RayError as error:
            words = " ".join(str(error).split())[-_SHOWN_CHARS:]
            failure = DataError(f"{self.out}: Ray cannot go on ({words}); repeat the command for what is missing")
            failure.exit_code = 1
            raise failure from error


class _Worker:
    """A process of Ray that makes outputs of shards, one at a time."""

    def __init__(self, make: Make, out: str, folder: str) -> None:
        with suppress(OSError):  # on another machine; then addresses are absolute
            os.chdir(folder)
        self._out, self._fault = out, None
        try:
            self._work = make()
        except Exception as error:  # Ray would try again, and show its own paths in the end
            self._fault = _one_line(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if self._fault is not None:
            return {"outcome": json.dumps(["", 0.0, None, self._fault])}
        name, start = Address(row["file"]).name, time.monotonic()
        counts = fault = None
        try:
            counts = self._work(row["file"], f"{self._out}/{name}")
        except Exception as error:  # of this shard: raised, it would end the work on all others, without its name
            fault = _one_line(error)
        return {"outcome": json.dumps([name, time.monotonic() - start, counts, fault])}


def _one_line(error: Exception) -> str:
    """What a user reads of an error; an unexpected one has its type before it."""
    if isinstance(error, DataError | OSError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_SHOWN_CHARS]}"
