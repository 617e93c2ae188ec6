"""Reads one plain text for the command line, and shows on a terminal what was kept of it.

>>> from .compressor import Compressor
>>> text = "well, 12 + 15 = 27"
>>> print(show_kept(text, Compressor.from_pretrained("rules").compress(text, ratio=0.8), colour=False))
[-well,-] 12 + 15 = 27
"""

import sys
from pathlib import Path

import click

from .compressor import Compression
from .errors import DataError


def read_text(source: str | Path) -> str:
    """The text of a file, or of standard input for `-`, with its line breaks unchanged.

    Raises:
        DataError: there is no such file, or it is not UTF-8.
    """
    try:
        data = sys.stdin.buffer.read() if str(source) == "-" else Path(source).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise DataError(
            f"{source}: cannot be read ({error.strerror}); give a text file, or - for standard input"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not UTF-8 at byte {error.start}; convert it first") from None


def show_kept(cot: str, result: Compression, *, colour: bool) -> str:
    """The whole text with the kept part marked.

    Args:
        cot: The text before compression.
        result: Its compression.
        colour: True to show the kept part in green and the rest faint; False to write the rest as `[-dropped-]`.
    """
    parts: list[str] = []
    position = 0
    for start, end in [*result.spans, (len(cot), len(cot))]:
        dropped, kept = cot[position:start], cot[start:end]
        if not dropped.strip():
            parts.append(dropped)
        elif colour:
            parts.append(click.style(dropped, dim=True))
        else:
            inner = dropped.strip()
            parts.append(dropped.replace(inner, f"[-{inner}-]", 1))
        parts.append(click.style(kept, fg="green", bold=True) if colour and kept else kept)
        position = end
    return "".join(parts)
