# copied from packages/_shared/bounded.py; edit it there
"""Runs a function in a child process with limits of time, memory and output.

Meant for what a checkpoint brings along and nobody can judge beforehand: chat templates, and the first loading of a
configuration or tokenizer. What runs is up to the caller. The child prints nothing.

    in_child(lambda: tokenizer.apply_chat_template(messages, tokenize=False), "checkpoints/sft: chat template")
"""

import gc
import json
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from ..errors import DataError

SECONDS = 30.0
MEMORY_BYTES = 2**30
RESULT_BYTES = 2**28
_PIPE_BYTES = 2**16
_GRACE_SECONDS = 1.0


def in_child(
    function: Callable[[], Any],
    where: str,
    *,
    seconds: float = SECONDS,
    memory_bytes: int = MEMORY_BYTES,
    result_bytes: int = RESULT_BYTES,
) -> Any:
    """The result of a function, which must consist of JSON values.

    Systems that cannot fork call the function directly.

    Args:
        function: A function without arguments; it must not use threads, a GPU or another process.
        where: Description of what runs, which opens every error message.
        seconds: Time that the child may take.
        memory_bytes: Memory that the child may take beyond what this process has (on Linux).
        result_bytes: Largest size of the result as JSON.

    Raises:
        DataError: the function failed, or passed a limit; a DataError of the function is raised as it is.
    """
    if not hasattr(os, "fork"):
        return function()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _end_without_parent(seconds)
        _run(function, writer, memory_bytes)
    os.close(writer)
    try:
        received = _receive(reader, seconds, result_bytes)
    except ValueError as error:
        os.kill(child, signal.SIGKILL)
        raise DataError(f"{where}: {error}") from None
    finally:
        os.close(reader)
        _, status = os.waitpid(child, 0)
    kind, _, content = received.partition(b" ")
    if kind == b"result":
        return json.loads(content)
    words = content.decode("utf-8", "replace")
    if kind == b"refused":
        raise DataError(words)
    raise DataError(f"{where}: {words[:300] or _ending(status, memory_bytes)}")


def _ending(status: int, memory_bytes: int) -> str:
    """Why a child ended without an answer; libraries in C and Rust end the process if they get no memory."""
    signals = {-each: each.name for each in signal.Signals}
    name = signals.get(os.waitstatus_to_exitcode(status), "no signal")
    most = f"; does it need more than {memory_bytes // 2**20} MiB of memory?" if name != "SIGKILL" else ""
    return f"the process that ran it was killed ({name}){most}"


def _run(function: Callable[[], Any], writer: int, memory_bytes: int) -> None:
    """What the child does; it never returns."""
    try:
        gc.freeze()  # a collection would copy every page that parent and child share
        silence()
        limit_memory(memory_bytes)
        answer = b"result " + json.dumps(function()).encode()
    except DataError as error:
        answer = f"refused {error}".encode("utf-8", "replace")
    except MemoryError:
        answer = f"error needs more than {memory_bytes // 2**20} MiB of memory".encode()
    except BaseException as error:
        answer = f"error {type(error).__name__}: {error}".encode("utf-8", "replace")
    try:
        with os.fdopen(writer, "wb") as out:
            out.write(answer)
    finally:
        os._exit(0)


def silence() -> None:
    """Print nothing, and let tokenizers start no threads, which a forked process cannot have."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _end_without_parent(seconds: float) -> None:
    """Let the system end the child some time after its parent would have: a parent that was killed ends nobody."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE_SECONDS)


def limit_memory(memory_bytes: int) -> None:
    """Let this process take so much memory beyond what it has (on Linux); it cannot be undone."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            limit = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, OSError, ValueError):
        return


def _receive(reader: int, seconds: float, result_bytes: int) -> bytes:
    """Everything that the child writes.

    Raises:
        ValueError: it takes too long or writes too much.
    """
    deadline, parts, size = time.monotonic() + seconds, [], 0
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise ValueError(f"takes longer than {seconds:g} seconds")
        part = os.read(reader, _PIPE_BYTES)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > result_bytes:
            raise ValueError(f"gives more than {result_bytes} bytes")
