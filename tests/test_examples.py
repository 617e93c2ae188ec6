"""The examples' commands exist as written."""

import importlib
import shlex
from collections import Counter
from pathlib import Path

import pytest

from .example_scripts import EXAMPLES, load_script

frontier = load_script("frontier/rows.py")
objectives = load_script("paper_tables/objectives.py")
paper_tables = load_script("paper_tables/pipeline.py")
smollm2 = load_script("smollm2/smollm2.py")
STAGES = {
    "quickstart": load_script("quickstart/quickstart.py").pipeline(Path("run"), 0),
    "objectives": [stage for name in objectives.ROWS for stage in objectives.stages_of(Path("run"), name, 0)],
    "paper_tables": paper_tables.pipeline(Path("run"), 0),
    "paper_tables of a task": paper_tables.pipeline(Path("run"), 0, "gradual"),
    "smollm2": smollm2.pipeline(Path("run"), smollm2.CPU, 0),
    "smollm2 on a GPU": smollm2.pipeline(Path("run"), smollm2.GPU, 0, "--data-dir data"),
    "frontier": [
        *frontier.shared_stages(Path("run"), "steep", 0),
        *(stage for name in frontier.ROWS for stage in frontier.row_stages(Path("run"), name, 0)),
    ],
}


@pytest.mark.parametrize(
    "line", [pytest.param(line, id=f"{name}: {title}") for name, stages in STAGES.items() for title, line in stages]
)
def test_every_stage_is_a_command_that_takes_its_arguments(line):
    program, *words = shlex.split(line)
    if program.endswith(".py"):
        command = load_script(Path(program).relative_to(EXAMPLES)).main
    else:
        command = importlib.import_module(f"{program.replace('-', '_')}.cli").cli
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
    command.make_context(program, words)


@pytest.mark.parametrize("name", STAGES)
def test_no_two_stages_share_a_title(name):
    titles = Counter(title for title, _ in STAGES[name])
    assert max(titles.values()) == 1, "a stage is remembered by its title"
