"""Tables of the page. What is in their cells, escaped, is left to the callers.

>>> row("<base>", ["1.0"])
'<tr><th scope=row>&lt;base&gt;</th><td>1.0</td></tr>'
"""

from collections.abc import Sequence

from .escaping import html


def row(name: str, cells: Sequence[str]) -> str:
    """A row: its name, as text, and its cells, as HTML."""
    return f"<tr><th scope=row>{html(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def grid(heads: Sequence[str], body: Sequence[str]) -> str:
    """A table, which scrolls sideways on a narrow screen."""
    cells = "".join(f"<th scope=col>{html(head)}</th>" for head in heads)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
