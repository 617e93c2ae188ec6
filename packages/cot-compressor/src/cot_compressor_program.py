"""The program `cot-compressor`: Ctrl-C ends it in one line, even while its package is imported.

It is beside the package, because the import of any module inside imports the package first. The commands are left to
`cot_compressor.cli`.

    import cot_compressor_program
    cot_compressor_program.main()
"""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it may be ignored, as after nohup
        signal.signal(signal.SIGINT, _end)
    from cot_compressor.cli import cli

    cli(prog_name="cot-compressor")


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted; repeat the command to continue\n")
    os._exit(130)
