"""A click group that turns exceptions into a one-line message and an exit code.

Errors of this package carry `exit_code` 2 (bad input or usage) or 1 (failure); any other exception is a failure.
`--debug` shows the traceback instead.

    @click.group(cls=CommandGroup)
    def cli(): ...
"""

import errno
import os
import sys
import traceback
from contextlib import suppress
from typing import Any

import click

from .interrupts import EXIT_CODE, LINE, interrupted, interruptible
from .secret_text import without_secrets
from .system_errors import explained
from .terminal import echo, guard_libraries, printable

_EPILOG_WIDTH = 100
_BAD_PATH = {errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR}
"""Errors of the system that a path of the user causes."""
_OF_CLICK = (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError, SystemExit, GeneratorExit)
"""What click, or Python, turns into an end itself."""


class CommandGroup(click.Group):
    """A command group with `--debug`, one-line errors and examples kept as written in `--help`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings.setdefault("max_content_width", _EPILOG_WIDTH)
        self.params.append(click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line, with every standard stream open, and nothing of strangers on a terminal as it is."""
        _open_standard_streams()
        guard_libraries()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # of `--help`, whose output has no room
            sys.exit(_report(error, debug=False))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command; turn an exception into one line on stderr and an exit code."""
        debug = ctx.params.pop("debug", False)
        try:
            with interruptible():
                result = super().invoke(ctx)
                _leave_processes()
                return result
        except BaseException as error:  # A library in Rust may end in a PanicException, which is no Exception.
            if isinstance(error, click.ClickException):
                vars(error)["message"] = printable(without_secrets(error.message))
            if isinstance(error, _OF_CLICK) and not interrupted():
                raise
            sys.exit(_report(error, debug=debug))


def _report(error: BaseException, *, debug: bool) -> int:
    """Print what ended a command; returns its exit code."""
    words, code = explained(error) or str(error), getattr(error, "exit_code", None)
    line = f"error: {' '.join(words.split()) or 'no message'}"
    if isinstance(error, KeyboardInterrupt) or interrupted():
        line, code = LINE, EXIT_CODE
    elif getattr(error, "errno", None) in _BAD_PATH:
        code = 2
    elif not (code or explained(error)):
        line = f"error: {type(error).__name__}: {line.removeprefix('error: ')} (--debug shows the traceback)"
    with suppress(OSError):  # standard error may have no room
        echo(without_secrets(traceback.format_exc().rstrip() if debug else line), err=True)
    return code or 1


def _open_standard_streams() -> None:
    """Open those that the caller closed on nothing: the next output would take their place, and get what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115


def _leave_processes() -> None:
    """End here if torch joined several processes: freed as Python exits, gloo's groups can hang or abort it."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
