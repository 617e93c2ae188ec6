r"""A pool of grading processes that are started once, reused, and killed if an answer takes too long.

A job's deadline is a limit of processor time, so that a busy machine changes no verdict; time in the queue does not
count. Wall time is limited to ten times the deadline. A worker that exceeds a limit is killed. If a worker dies, the
job is tried once more in a new worker. Any thread may use the pool, because it needs no signals of the calling process.
The first job starts the first worker, which takes about three seconds. A forked process starts its own workers and does
not use those of its parent.

    with Pool(workers=2, deadline_s=5.0, memory_bytes=2 * 2**30) as pool:
        pool.ask(r"2\sqrt{2}", r"\sqrt{8}")     # ('correct', 'math-verify finds them equal')
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from typing import Any
from weakref import WeakSet, finalize

from math_eval.errors import MathEvalError

_START_SECONDS = 120.0
_JOBS_PER_WORKER = 2000
_WALL_FACTOR = 10
_OUT_OF_TIME = (-signal.SIGPROF, -signal.SIGXCPU)


class _Died(Exception):
    """The worker ended without an answer."""


class _TimedOut(Exception):
    """The worker exceeded the deadline."""


class _Worker:
    """One grading process. After `ask` has raised, the process must be discarded; unused, it ends."""

    def __init__(self, memory_bytes: int) -> None:
        self._process = _start(memory_bytes)
        self.end = finalize(self, _end, self._process, os.getpid())
        self.end.atexit = False
        self.jobs = 0
        self.usable = True
        self._buffer = b""
        self._read(_START_SECONDS)

    def ask(self, job: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        self.jobs += 1
        self.usable = False
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(job).encode("ascii") + b"\n")
        except OSError as error:
            raise _Died from error
        answer = self._read(_WALL_FACTOR * deadline_s)
        self.usable = answer["verdict"] not in ("limit", "error") and self.jobs < _JOBS_PER_WORKER
        return answer

    def _read(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        with selectors.PollSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left = end - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise _TimedOut
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    code = self._process.wait()
                    raise _TimedOut if code in _OUT_OF_TIME else _Died
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    @property
    def pid(self) -> int:
        return self._process.pid


def _start(memory_bytes: int) -> "subprocess.Popen[bytes]":
    path = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "math_eval.grading.worker", str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
    except OSError as error:
        raise MathEvalError(
            f"no grading process can be started ({error}); close graders, or raise the limit of open files or processes"
        ) from error


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    """Kill the process, unless this one is a fork of its owner, and close the pipes."""
    if os.getpid() == owner:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


class Pool:
    """Up to `workers` grading processes, each started when it is first needed.

    Args:
        workers: Maximum number of jobs at the same time.
        deadline_s: Processor time in seconds that a job may take.
        memory_bytes: Address space of one worker.
    """

    def __init__(self, workers: int, deadline_s: float, memory_bytes: int) -> None:
        self._workers = workers
        self._deadline_s = deadline_s
        self._memory_bytes = memory_bytes
        self._idle: list[_Worker] = []
        self._closed = False
        self._make_locks()
        _pools.add(self)

    def _make_locks(self) -> None:
        self._slots = threading.BoundedSemaphore(self._workers)
        self._lock = threading.Lock()

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that wait for a job."""
        return [worker.pid for worker in self._idle]

    def leave_to_parent(self) -> None:
        """Forget the parent's workers and the locks that its threads may hold; called in a forked process."""
        self._make_locks()
        for worker in self._idle:
            worker.end()
        self._idle = []

    def ask(self, answer: str, gold: str, letters: tuple[list[str], list[str]] | None = None) -> tuple[str, str]:
        """The verdict of one pair and its detail; no content of the pair makes it raise.

        Args:
            answer: LaTeX of an answer.
            gold: LaTeX of the reference answer.
            letters: Letters of both, which math-verify must not lose.

        Raises:
            MathEvalError: The pool is closed, or the system permits no further process.
        """
        job = {"answer": answer, "gold": gold, "letters": letters, "seconds": self._deadline_s}
        with self._slots:
            try:
                return self._ask(job, self._take())
            except _TimedOut:
                return "timeout", f"more than {self._deadline_s:g} s"
            except _Died:
                pass
            try:
                return self._ask(job, _Worker(self._memory_bytes))
            except _TimedOut:
                return "timeout", f"more than {self._deadline_s:g} s"
            except _Died:
                return "error", "two grading processes died on it"

    def _ask(self, job: dict[str, Any], worker: _Worker) -> tuple[str, str]:
        try:
            answer = worker.ask(job, self._deadline_s)
            return answer["verdict"], answer["detail"]
        finally:
            self._put_back(worker)

    def _take(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise MathEvalError("this grader is closed; grade inside its `with` block")
            if self._idle:
                return self._idle.pop()
        return _Worker(self._memory_bytes)

    def _put_back(self, worker: _Worker) -> None:
        with self._lock:
            keep = worker.usable and not self._closed
            if keep:
                self._idle.append(worker)
        if not keep:
            worker.end()

    def close(self) -> None:
        """End every worker; jobs in progress still finish."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_pools: WeakSet[Pool] = WeakSet()


def _after_fork() -> None:
    for pool in _pools:
        pool.leave_to_parent()


if hasattr(os, "register_at_fork"):  # absent on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
