"""The shell of every HTML page: one file without outside resources, in which only the package's own script can run.

Text of strangers must be escaped before (`escaping`).

    document("Runs", ["<h1>Runs</h1>"], script="sort.js")    # '<!doctype html>…'
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from .escaping import html


def document(title: str, body: Sequence[str], *, script: str) -> str:
    """A whole page.

    Args:
        title: Title of the window, as plain text.
        body: Content, as HTML.
        script: Name of a file of this folder.
    """
    here = files(__package__ or "")
    style, code = (here.joinpath(name).read_text("utf-8") for name in ("style.css", script))
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; form-action 'none'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html(title)}</title><style>{style}</style></head><body>{''.join(body)}"
        f"<script>{code}</script></body></html>\n"
    )
