"""Griffe extension for the documentation site: shows the `>>>` examples of docstrings as code.

Griffe recognises such examples only under the heading "Examples:"; elsewhere Markdown would make quotes of them.
"""

import re

import griffe

EXAMPLE = re.compile(r"^( *)>>> .*\n(?:\1[^\s].*\n?|\1 +\S.*\n?)*", re.MULTILINE)


class DocsExamples(griffe.Extension):
    """Puts a code fence around every `>>>` example."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Change the docstring of one object.

        Args:
            obj: Module, class, function or attribute that was read.
        """
        if obj.docstring and ">>> " in obj.docstring.value:
            text = f"{obj.docstring.value}\n"
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found.group().rstrip()}\n```\n", text)
