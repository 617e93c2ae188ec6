# copied from packages/_shared/interrupts.py; edit it there
"""Ctrl-C ends a command in one line: the first one in order, a second one at once.

The program's own start, before this package is imported, is left to `<package>_program.py` beside the package.

    with interruptible():
        main()
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LINE = "interrupted; repeat the command to continue"
EXIT_CODE = 130
_seen = threading.Event()


def interrupted() -> bool:
    """Whether Ctrl-C was pressed, whatever a library made of it."""
    return _seen.is_set()


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first Ctrl-C into a KeyboardInterrupt; a second one, while the command still cleans up, ends it at once.

    Where Ctrl-C is ignored, as after nohup, it stays so; outside the main thread nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield
        return
    _seen.clear()
    signal.signal(signal.SIGINT, _first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if _seen.is_set() else before)


def _first(number: int, frame: FrameType | None) -> None:
    _seen.set()
    signal.signal(signal.SIGINT, _second)
    raise KeyboardInterrupt


def _second(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{LINE}\n".encode())
    os._exit(EXIT_CODE)
