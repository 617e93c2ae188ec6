"""English that reads once: every help text and every entry of a docstring names its thing first."""

import ast
import importlib
import re
from pathlib import Path

import click
import pytest

from .conftest import PACKAGES

ROOT = Path(__file__).parents[1]
# An entry that opens so is a fragment: the reader has to find out first what it is about.
OPENINGS = re.compile(
    "(about|above|across|after|against|along|among|around|as|at|before|behind|below|beneath|beside|besides|between|beyond"
    "|by|despite|down|during|except|for|from|in|inside|into|like|near|of|off|on|onto|or|out|outside|over|past|per|since"
    "|than|through|till|to|towards?|under|underneath|until|up|upon|via|with|within|without|and|but|nor|so|yet)\\b",
    re.IGNORECASE,
)
IDIOMS = re.compile(r"\b(told|tells|said|says|stands|torn|letter for letter)\b", re.IGNORECASE)
SECTIONS = {"Args:", "Returns:", "Raises:", "Yields:", "Attributes:"}


def docstrings():
    for path in sorted((ROOT / "packages").glob("*/src/**/*.py")):
        if "_shared" in path.parts:
            continue
        yield from docstrings_of(path)
    for path in sorted((ROOT / "packages/_shared").glob("*.py")):
        yield from docstrings_of(path)


def docstrings_of(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'name', '')}", text


def entries(text):
    """The entries of the sections of a Google-style docstring: what follows `name: `, or the section's first line."""
    section, indent = "", 0
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if line.strip() in SECTIONS:
            section, indent = line.strip(), 0
        elif section and line.strip():
            first, indent = not indent, indent or depth
            if depth == 0:
                section = ""
            elif section in {"Returns:", "Yields:"} and first:
                yield section, line.strip()
            elif section not in {"Returns:", "Yields:"} and depth == indent and ": " in line:
                yield section, line.partition(": ")[2]


def opens_badly(entry):
    return OPENINGS.match(entry) is not None


def test_the_entries_of_a_docstring_are_found():
    text = (
        "Do it.\n\nArgs:\n    seed: Of the draws.\n        More.\n    out, b: A file.\n\nReturns:\n    From a to b.\n"
    )
    assert list(entries(text)) == [
        ("Args:", "Of the draws."),
        ("Args:", "A file."),
        ("Returns:", "From a to b."),
    ]
    assert [opens_badly(entry) for _, entry in entries(text)] == [True, False, True]


def test_docstring_entries_name_their_thing_first():
    bad = [f"{place}: {entry}" for place, text in docstrings() for _, entry in entries(text) if opens_badly(entry)]
    assert not bad, "\n".join(bad)


def test_docstrings_are_free_of_idioms():
    bad = [f"{place}: {found.group()}" for place, text in docstrings() for found in IDIOMS.finditer(text)]
    assert not bad, "\n".join(bad)


def commands(command, path):
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}")


@pytest.mark.parametrize("dist", PACKAGES)
def test_every_option_has_a_help_text_that_names_its_thing_first(dist):
    cli = importlib.import_module(f"{PACKAGES[dist]}.cli").cli
    bad = []
    for path, command in commands(cli, dist):
        assert command.help, f"{path}: no help"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                text = parameter.help or ""
                if not text or opens_badly(text) or IDIOMS.search(text) or text[0].islower():
                    bad.append(f"{path} {parameter.opts[0]}: {text!r}")
        if not isinstance(command, click.Group) and "Example" not in (command.epilog or command.help):
            bad.append(f"{path}: no example in --help")
    assert not bad, "\n".join(bad)
