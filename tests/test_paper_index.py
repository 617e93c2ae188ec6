"""docs/paper_index.md names only what exists."""

import importlib.util
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "paper_index.md").read_text("utf-8")
NAMES = sorted(set(re.findall(r"`((?:cot_compressor|ratio_sft|chrpo|math_eval)\.[\w.]+)`", PAGE)))
COMMANDS = sorted(set(re.findall(r"`((?:cot-compressor|ratio-sft|chrpo|math-eval) [a-z][^`]*)`", PAGE)))


@pytest.mark.parametrize("name", NAMES)
def test_a_named_object_exists(name):
    parts = name.split(".")
    while len(parts) > 1 and not is_module(parts):
        parts.pop()
    found = importlib.import_module(".".join(parts))
    for attribute in name.split(".")[len(parts) :]:
        found = getattr(found, attribute)


def is_module(parts):
    try:
        return importlib.util.find_spec(".".join(parts)) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("line", COMMANDS)
def test_a_named_command_and_its_flags_exist(line):
    dist, *words = line.split()
    command = importlib.import_module(f"{dist.replace('-', '_')}.cli").cli
    path = [word for word in words if not word.startswith("--")]
    while path and hasattr(command, "commands"):
        command = command.commands[path.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
