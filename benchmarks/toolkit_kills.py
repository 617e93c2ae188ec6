"""Kills every long command at random moments, lets it end, and compares the end with that of an undisturbed run.

A command is killed (SIGKILL) again and again in one output, and repeated as it was; when it ended, a new output is
begun, until all kills are done. No output under its final name may ever be partial, and every end must equal the
undisturbed one byte for byte, apart from fields that contain a time. Commands run alone, as two copies of one command
on one output, and as two ranks that share the work. What is done is kept in the folder and not done again.

    python benchmarks/toolkit_kills.py runs/kills                               # 20 kills of each command, each way
    python benchmarks/toolkit_kills.py runs/kills --only "ratio-sft train" --way ranks      # once more
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kill_pipeline import (
    COMMANDS,
    Undisturbed,
    contents,
    differing,
    link_inputs,
    partial,
    undisturbed,
    undisturbed_ranks,
)
from kill_processes import (
    Started,
    alive,
    children,
    codes,
    descendants,
    ended,
    log_of,
    send,
    start,
    start_counted,
    wait,
    wait_for_moment,
    watch,
)
from recording import record

WAYS = {
    "alone": "one process",
    "changes": "one process, killed before a change of a file",
    "copies": "two copies on one output",
    "ranks": "two that share the work",
}
SHARED_OUT = ("cot-compressor", "ratio-sft train", "chrpo train")
"""The commands that several processes can do together; of the others, two copies are started."""
REFUSED = "another process is writing it"
_EARLY, _ONE = 0.05, 0.5
"""Share of kills before the work, and of kills of one of two processes only."""
_COLD = {"alone": 0.1, "copies": 0.1, "ranks": 0.2}
"""Share of starts as a user starts the command, by torchrun if there are two ranks."""
_MOST_FAULTS = 5
_LONGEST_S, _ORPHANS_S, _ALONE_S = 900.0, 60.0, 10.0


@dataclass
class Tally:
    """What was seen of one command, started one way.

    Args:
        kills: Moments at which SIGKILL was sent.
        inside: Those after the first change of a file, so in the work.
        cold: Those of a command that was started as a user starts it.
        one: Those of one of two processes.
        alone: Those after which the other rank ended by itself; torchrun ended it after the rest of `one`.
        refused: Copies that were refused because the other one was writing.
        late: Starts that ended before they could be killed.
        ends: Outputs that were completed.
        faults: Faults.
    """

    kills: int = 0
    inside: int = 0
    cold: int = 0
    one: int = 0
    alone: int = 0
    refused: int = 0
    late: int = 0
    ends: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Killer:
    """Kills of one command in one output after the other."""

    command: str
    way: str
    place: Path
    begin: float
    expected: dict[str, Any]
    draw: random.Random
    tally: Tally

    def rehearse(self) -> float:
        """Let the command end undisturbed; returns how many seconds its work takes, or how many changes it makes."""
        if self.way == "changes":
            process, changes = start_counted(self.command, self.place)
            self._compare(self._end([process]))
            return changes.value
        processes = start(self.command, self.place, self.way, warm=True)
        _, work = watch(processes, self.place, _LONGEST_S)
        self._compare(self._end(processes))
        return work

    def disturb(self, kills: int, work: float) -> None:
        """Begin an output, kill its command until it ends or all kills are done, and let it end."""
        ended_with = None
        while self.tally.kills < kills and ended_with is None:
            ended_with = self.attempt_at_change(int(work)) if self.way == "changes" else self.attempt(work)
        if ended_with is None:
            way = "alone" if self.way == "changes" else self.way
            ended_with = self._end(start(self.command, self.place, way, warm=self.draw.random() > _COLD[way]))
        self._compare(ended_with)

    def _compare(self, ended_with: str | None) -> None:
        """Compare what a command made that ended well; what differs stays for a look at it."""
        if ended_with:
            return self._fault(ended_with)
        self.tally.ends += 1
        if names := differing(self.place, self.expected):
            return self._fault(f"another end: {', '.join(names)}")
        return shutil.rmtree(self.place)

    def attempt_at_change(self, changes: int) -> str | None:
        """Start the command, which is killed before one of its changes; returns what `attempt` does."""
        process, _ = start_counted(self.command, self.place, self.draw.randint(1, changes))
        if not ended([process], _LONGEST_S) or codes([process]) != [-signal.SIGKILL]:
            self.tally.late += 1
            return self._end([process])
        self.tally.kills += 1
        self.tally.inside += 1
        self._check_after_kill([])
        return None

    def attempt(self, work: float) -> str | None:
        """Start the command and kill it at a random moment.

        Args:
            work: Seconds that the work of the command takes.

        Returns:
            None if it was killed; otherwise how it ended, empty if it ended well.
        """
        early, one = self.draw.random() < _EARLY, self.way != "alone" and self.draw.random() < _ONE
        cold = early or self.draw.random() < _COLD[self.way]
        processes = start(self.command, self.place, self.way, warm=not cold)
        seconds = self.draw.uniform(0, self.begin if early else work)
        inside = wait_for_moment(processes, self.place, seconds, early=early)
        if inside is None:
            self.tally.late += 1
            return self._end(processes)
        self.tally.kills += 1
        self.tally.inside += inside
        self.tally.cold += cold
        torchrun = processes[0] if cold and self.way == "ranks" else None
        ranks = children(_pid(torchrun)) if torchrun else [_pid(process) for process in processes]
        if one and self.way == "ranks" and len(ranks) == 2 and None in codes(processes):
            return self._kill_rank(processes, ranks, torchrun)
        return self._kill(processes, ranks if torchrun else [], one=one and self.way == "copies")

    def _kill(self, processes: list[Started], ranks: list[int], *, one: bool) -> str | None:
        """Kill one copy and let the other end, or all processes with the ranks of torchrun."""
        victims = [_pid(process) for process in processes if codes([process]) == [None]]
        if one and victims:
            victims = [self.draw.choice(victims)]
            self.tally.one += 1
        orphans = descendants(victims)
        killed = [process for process in processes if _pid(process) in victims]
        rest = [process for process in processes if process not in killed]
        # What is killed after the other copy has ended leaves its files to the next start.
        other = None in codes(rest)
        send([*victims, *ranks], signal.SIGKILL)
        ended(killed, _LONGEST_S)
        ended_with = self._end(rest, killed=True) if one and other else None
        self._check_after_kill(orphans)
        return ended_with

    def _kill_rank(self, processes: list[Started], ranks: list[int], torchrun: Started | None) -> str | None:
        """Kill one of two ranks; the other must end: by itself, or because torchrun asks it to."""
        self.tally.one += 1
        orphans = descendants([*ranks, *map(_pid, processes)])
        if torchrun:
            os.kill(_pid(torchrun), signal.SIGSTOP)
        send([self.draw.choice(ranks)], signal.SIGKILL)
        if alone := wait(lambda: not alive(ranks), _ALONE_S):
            self.tally.alone += 1
        if torchrun:
            os.kill(_pid(torchrun), signal.SIGCONT)
        elif not alone:
            send([pid for pid in ranks if alive([pid])], signal.SIGTERM)
        if not ended(processes, _LONGEST_S):
            send([*ranks, *map(_pid, processes)], signal.SIGKILL)
            return f"no end within {_LONGEST_S:g} s of the end of a rank"
        self._check_after_kill(orphans)
        found = sorted(map(str, codes(processes)))
        lines = re.findall("^error: .*", log_of(self.place), re.MULTILINE)
        if "0" in found:  # the other rank had nothing left to do
            return ""
        if found not in ([["1"]] if torchrun else [["-9", "1"], ["-15", "-9"]]):
            return f"exit codes {found} after the end of a rank"
        if alone and len(lines) != 1:
            self._fault(f"the rank that was left wrote {len(lines)} lines of an error: {lines}")
        return None

    def _check_after_kill(self, orphans: list[int]) -> None:
        if not wait(lambda: not alive(orphans), _ORPHANS_S):
            self._fault(f"{len(alive(orphans))} processes went on for {_ORPHANS_S:g} s")
            send(orphans, signal.SIGKILL)
        for name in partial(self.place, self.expected):
            self._fault(f"partial after a kill: {name}")

    def _end(self, processes: list[Started], *, killed: bool = False) -> str | None:
        """How processes ended that nobody kills: empty if well; None if all were refused in favour of a killed one."""
        if not ended(processes, _LONGEST_S):
            send([*descendants([*map(_pid, processes)]), *map(_pid, processes)], signal.SIGKILL)
            return f"no end within {_LONGEST_S:g} s"
        found = codes(processes)
        if self.way == "copies":
            refused = log_of(self.place).count(REFUSED)
            self.tally.refused += refused
            if found.count(2) == refused and {*found} <= {0, 2}:
                return "" if 0 in found else None if killed else "both copies were refused"
        return "" if not any(found) else f"exit codes {found}: {log_of(self.place)[-300:]}"

    def _fault(self, text: str) -> None:
        self.tally.faults.append(f"{self.place.name}: {text}")


def _pid(process: Started) -> int:
    assert process.pid is not None
    return process.pid


def stage(folder: Path, runs: list[Undisturbed], number: int, way: str, options: argparse.Namespace) -> Tally:
    """All kills of one command, started one way."""
    whole = undisturbed_ranks(folder, runs, number) if way == "ranks" else runs[number]
    tally, draw, outputs, work = Tally(), random.Random(f"{options.seed} {number} {way}"), 0, None
    expected = contents(whole.place, runs[number].made)
    while tally.kills < options.kills and len(tally.faults) < _MOST_FAULTS:
        place = folder / f"killed_{way}_{number}_{outputs}"
        link_inputs(place, runs, number)
        killer = Killer(COMMANDS[number], way, place, whole.begin, expected, draw, tally)
        if work is None:
            work = killer.rehearse()
        else:
            killer.disturb(options.kills, work)
        outputs += 1
    return tally


def tables(result: dict[str, Any]) -> str:
    """One line for each command and way of starting it; commands that differ only in their inputs share one."""
    lines = [
        "| command | started as | kills | of these in the work | of these of one process only | ends | faults |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    together: dict[tuple[str, str], list[Any]] = {}
    for row in result["rows"]:
        together.setdefault((" ".join(row["command"].split()[:2]), WAYS[row["way"]]), []).append(row)
    for names, rows in sorted(together.items()):
        counts = [sum(row[name] for row in rows) for name in ("kills", "inside", "one", "ends")]
        faults = sum(len(row["faults"]) for row in rows)
        lines.append(f"| {' | '.join(map(str, [*names, *counts, faults]))} |")
    kills, cold, refused = (sum(row[name] for row in result["rows"]) for name in ("kills", "cold", "refused"))
    alone, one = (sum(row[name] for row in result["rows"] if row["way"] == "ranks") for name in ("alone", "one"))
    lines += [
        "",
        f"{cold} of the {kills} kills met a program, or torchrun, started as a user starts it; the rest met a process",
        f"that had imported the libraries. {refused} copies were refused. After {alone} of {one} kills of one of two",
        "processes that share the work, the other one ended by itself; after the rest, when it was asked to.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run all commands undisturbed, then each with kills; returns 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Folder for all files.")
    parser.add_argument("--kills", type=int, default=20, help="Number of kills of each command, each way.")
    parser.add_argument("--only", action="append", default=[], help="Beginning of commands to kill again; repeatable.")
    parser.add_argument("--way", choices=WAYS, help="Only this way.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed for the moments.")
    options = parser.parse_args()
    folder = options.folder.resolve()
    runs, store = undisturbed(folder / "whole"), folder / "tallies.json"
    done: dict[str, Any] = json.loads(store.read_text("utf-8")) if store.is_file() else {}
    for number, command in enumerate(COMMANDS):
        second = "ranks" if command.startswith(SHARED_OUT) else "copies"
        for way in ("alone", "changes", second):
            key = f"{number} {way}"
            wanted = command.startswith(tuple(options.only)) if options.only else key not in done
            if not wanted or options.way not in (None, way):
                continue
            tally = stage(folder, runs, number, way, options)
            done[key] = {"command": command, "way": way, **asdict(tally)}
            store.write_text(json.dumps(done, indent=1), "utf-8")
            print(json.dumps(done[key]), flush=True)
    record(__file__, {"rows": [done[key] for key in sorted(done, key=lambda key: int(key.split()[0]))]}, tables)
    return int(any(row["faults"] for row in done.values()))


if __name__ == "__main__":
    sys.exit(main())
