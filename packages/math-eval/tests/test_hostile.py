"""Fifty-five hostile completions, graded from a worker thread and from asyncio.

`hostile.jsonl` has name, completion and gold, each text as a list of parts: a string, or a string and how often it is
repeated. None of them deserves `correct`; any other verdict will do.
"""

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest

from math_eval import VERDICTS, Grader

ORDINARY = [(r"\boxed{\int_0^2 x dx}", "2"), (r"\boxed{\log_2 8}", "3"), (r"\boxed{0.5}", r"\frac{1}{2}")]


def _text(parts):
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)


def _inputs(path):
    """Name -> completion and gold; code in a completion tries to create `path`."""
    rows = map(json.loads, Path(__file__).with_name("hostile.jsonl").read_text("utf-8").splitlines())
    return {row["name"]: (_text(row["completion"]).replace("{path}", str(path)), _text(row["gold"])) for row in rows}


def _children():
    """Processes of this one, ended ones that nobody waited for included."""
    listed = (Path(f"/proc/{name}/stat") for name in os.listdir("/proc") if name.isdigit())
    return {
        path.parent.name
        for path in listed
        if path.exists() and path.read_text("ascii", "replace").rpartition(")")[2].split()[1] == str(os.getpid())
    }


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the list of processes is read from /proc")
@pytest.mark.parametrize(("way", "deadline_s"), [("thread", 2.0), ("asyncio", 0.5)], ids=["thread", "asyncio"])
def test_hostile_inputs_get_a_verdict_and_leave_nothing_behind(way, deadline_s, tmp_path):
    inputs, before = _inputs(tmp_path / "pwned"), _children()
    items = list(inputs.values())
    assert len(items) == 55
    verdicts = []
    with Grader(2, deadline_s=deadline_s) as grader:
        if way == "thread":
            thread = threading.Thread(target=lambda: verdicts.extend(grader.grade_many(items)))
            thread.start()
            thread.join()
        else:

            async def every():
                return await asyncio.gather(*(asyncio.to_thread(grader.grade, *item) for item in items))

            verdicts = asyncio.run(every())
        after = [verdict.verdict for verdict in grader.grade_many(ORDINARY)]
    named = {name: verdict.verdict for name, verdict in zip(inputs, verdicts, strict=True)}
    assert set(named.values()) <= set(VERDICTS)
    assert [name for name, verdict in named.items() if verdict == "correct"] == []
    assert after == ["correct"] * 3
    assert not (tmp_path / "pwned").exists()
    assert _children() == before
