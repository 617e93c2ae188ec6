"""The examples' commands exist as written, and the published files become rows of the contracts."""

import importlib
import json
import os
import shlex
from collections import Counter
from pathlib import Path

import pytest

from .example_scripts import EXAMPLES, load_script

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("DATA") or ROOT / "data")

frontier = load_script("frontier/rows.py")
objectives = load_script("paper_tables/objectives.py")
STAGES = {
    "quickstart": load_script("quickstart/quickstart.py").pipeline(Path("run"), 0),
    "objectives": [stage for name in objectives.ROWS for stage in objectives.stages_of(Path("run"), name, 0)],
    "paper_tables": load_script("paper_tables/pipeline.py").pipeline(Path("run"), 0),
    "smollm2": load_script("smollm2/smollm2.py").pipeline(Path("run"), Path("data"), 0),
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


def test_real_traces_become_rows_of_the_traces_contract(tmp_path):
    if not DATA.is_dir():
        pytest.skip(f"{DATA}: the folder of the published data files is not here; set DATA")
    from click.testing import CliRunner

    from cot_compressor._shared.records import read_records
    from math_eval import grade

    done = CliRunner().invoke(load_script("smollm2/inputs.py").main, [str(DATA), str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "362 traces on 89 questions by 5 models; 5 have no reference answer" in done.output
    rows = list(read_records(tmp_path / "traces.jsonl", "traces"))
    assert len({(row["id"], row["model"], row["sample"]) for row in rows}) == 362
    assert Counter(row["answer_from"] for row in rows) == {"reference": 357, "response": 5}
    taken = [row for row in rows if row["answer_from"] == "response"]
    assert all(grade(f"<think></think>{row['response']}", row["answer"]).verdict == "correct" for row in taken)
    problems = [json.loads(line) for line in (tmp_path / "rl.jsonl").read_text().splitlines()]
    test = {row["question"] for row in map(json.loads, (DATA / "gsm8k_test.jsonl").open())}
    assert problems
    assert not {row["question"] for row in problems} & test
    assert all(row["answer"].lstrip("-").replace(",", "").isdigit() for row in problems)
