"""`ratio-sft build --engine ray`: mixes the shards of compressed traces on a Ray cluster.

There are two passes: the first finds what the selection needs to know of each shard's traces, the second writes its
rows. Between them this process selects among all traces, as it does for one file. Each pass has a file for each
finished shard in the working folder, so that a killed build continues. What is done with one shard in a pass is here;
the cluster is left to `_shared.ray_shards`.

    mixing = ShardMixing("compressed", Path(".mix.partial"), MixSettings(), None, None, made_from)
    card, facts = mixing.run(workers=8, notify=print)
"""

import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from ratio_sft._shared.control_tokens import ControlTokens
from ratio_sft._shared.ray_shards import Counts, Report, ShardJob
from ratio_sft._shared.records import (
    Row,
    Tally,
    path_beside,
    read_object,
    remove_leftovers,
    write_json,
    write_records,
)
from ratio_sft._shared.row_files import content_digest
from ratio_sft._shared.runs import digest
from ratio_sft.errors import DataError
from ratio_sft.settings import MixSettings

from .acceptance import Reject, Usable, usable_traces
from .card import Histogram, data_card
from .decontaminate import TestQuestions
from .mixture import set_aside, side_rows
from .row_file import RowFile
from .selection import Selection, Side, select
from .survey import Survey, TraceKey, check_ladder, ladder

COMMAND = "ratio-sft build"
_WORK, _DONE = "work", ".done"
_SURVEYS, _CHOICES, _COUNTS = "surveys", "choices", "counts"


@dataclass(frozen=True)
class ShardMixing:
    """One build.

    Args:
        traces: Folder of shards of the `compressed` contract, here or on an object store; every worker reads it.
        folder: Working folder; every worker writes it.
        settings: Settings of the mixture.
        teacher: Problem id -> measured ratio; see `mixture.mix`.
        tests: Test questions to exclude.
        made_from: Everything that changes the rows but the content of the traces, as JSON values; `shards` has the
            names of the shards.
    """

    traces: str | Path
    folder: Path
    settings: MixSettings
    teacher: dict[str, float | None] | None
    tests: TestQuestions | None
    made_from: Row

    def run(self, *, workers: int | None, notify: Callable[[str], object]) -> tuple[Row, dict[str, Any]]:
        """Write the files `train/SHARD.jsonl`, `heldout/SHARD.jsonl` and `train/SHARD.rejected.jsonl`, and the ladder.

        Args:
            workers: Number of workers; None takes one for each processor of the cluster.
            notify: Function that gets a line about each pass, and about each shard that failed.

        Returns:
            The data card, and the facts of both passes for the manifest.

        Raises:
            DataError: see `mixture.mix`; shards have different ratios, and the settings name none; or shards failed.
        """
        shutil.rmtree(self.folder / _DONE, ignore_errors=True)
        token = sha256(json.dumps(self.made_from, sort_keys=True).encode()).hexdigest()

        def run(name: str, make: Callable[[], Any]) -> Report:
            job = ShardJob(COMMAND, self.traces, self.folder / _WORK / name, make, may_be_empty=True)
            report = job.run(workers=workers, gpu=False, notify=notify)
            notify(f"{name}: {report.summary()}")
            return report

        surveyed = run(_SURVEYS, partial(_Surveying, self.settings, self.tests, token))
        selection, tokenizer, tally = self.select()
        written = run(_COUNTS, partial(_Writing, self.settings, selection.tokens))
        histogram = Histogram()
        for name in self._names:
            found = read_object(_path(self.folder, _COUNTS, name))
            histogram.merge(found["histogram"])
            tally.add(found["more"])
        selection.tokens.save(self.folder)
        card = data_card(
            selection, self.settings, tokenizer=tokenizer, tally=tally, histogram=histogram, tests=self.tests
        )
        os.rename(self.folder / _WORK, self.folder / _DONE)  # killed here, a build never continues what is left
        shutil.rmtree(self.folder / _DONE)
        return card, {"passes": {"survey": surveyed.facts(), "rows": written.facts()}}

    @property
    def _names(self) -> list[str]:
        return self.made_from["shards"]

    def select(self) -> tuple[Selection, str, Tally]:
        """Select among the traces of all surveys, and write what becomes of those of each shard.

        Returns:
            The selection, the name of the tokenizer, and the counts of rows read and rejected so far.
        """
        survey, tally, usable, firsts = Survey(), Tally(), list[Usable](), [0]
        ratios: dict[str, set[float]] = {}
        for name in self._names:
            found = read_object(_path(self.folder, _SURVEYS, name))
            tally.add({**found["counts"], "written": 0})
            ratios[name] = set(found["ratios"])
            survey.ratios |= ratios[name]
            for tokenizer, where in found["tokenizers"].items():
                survey.tokenizers.setdefault(tokenizer, where)
            if self.tests:
                self.tests.matches.update(found["matches"])
            number = firsts[-1]
            for number, trace in enumerate(_lines(_lines_path(self.folder, _SURVEYS, name)), firsts[-1] + 1):
                key = TraceKey(trace["id"], trace["sample"], trace["model"], bytes.fromhex(trace["question"]))
                survey.add_key(key, trace["where"])
                if "usable" in trace:
                    tokens, question = trace["usable"]
                    usable.append(Usable(number - 1, key.id, tokens, bytes.fromhex(question)))
            if number - firsts[-1] != found["counts"]["read"]:
                lines = _lines_path(self.folder, _SURVEYS, name)
                raise DataError(f"{lines}: not all traces of {name}; remove {self.folder}, and repeat the command")
            firsts.append(number)
        tokenizer, tokens = survey.tokenizer(str(self.traces)), ladder(self.settings, survey.ratios)
        self._check_ratios(ratios, survey.ratios)
        check_ladder(tokens, self.settings, survey.ratios, str(self.traces))
        if not usable:
            raise DataError(f"{self.traces}: no trace is usable: {tally.summary()}")
        selection = select(usable, tokens, self.settings, teacher=self.teacher)
        for name, choice in zip(self._names, _choices(selection, firsts), strict=True):
            write_records(_lines_path(self.folder, _CHOICES, name), [choice])
        return selection, tokenizer, tally

    def _check_ratios(self, ratios: dict[str, set[float]], union: set[float]) -> None:
        """Refuse shards with different ratios: each was surveyed with its own ratios as the ladder."""
        for name, found in ratios.items():
            if found and found != union and not self.settings.ratios:
                own, others = (", ".join(f"{ratio:g}" for ratio in sorted(some)) for some in (found, union))
                raise DataError(
                    f"{self.traces}: {name} has ratios {own}, all shards together {others}; name the ladder with "
                    "--ratio, and add --overwrite"
                )


class _Surveying:
    """The first pass: finds out what is in a shard, and which of its traces are usable."""

    def __init__(self, settings: MixSettings, tests: TestQuestions | None, token: str) -> None:
        self._settings, self._tests, self._token = settings, tests, token

    def __call__(self, shard: str, out: str) -> Counts:
        folder, name = Path(out).parents[2], Path(out).name
        path, made_from = _path(folder, _SURVEYS, name), [self._token, content_digest(shard)]
        if (done := _finished(path, made_from)) is not None:
            return done
        survey, tally, rows = Survey(), Tally(), RowFile(shard, "compressed", is_part=True)
        keys = [survey.add(row, rows.where(number)) for number, row in enumerate(rows)]
        if self._tests:
            self._tests.matches.clear()
        found: list[Usable] = []
        if keys:
            found = usable_traces(rows, ladder(self._settings, survey.ratios), self._settings, self._tests, tally)
        tally.write_rejected(out)
        usable = {each.number: each for each in found}
        write_records(_lines_path(folder, _SURVEYS, name), _trace_lines(keys, rows, usable))
        counts = {"read": tally.read, "written": len(usable), "rejected": tally.reasons}
        matches = self._tests.matches if self._tests else {}
        facts = {"ratios": sorted(survey.ratios), "tokenizers": survey.tokenizers, "matches": matches}
        write_json(path, {"made_from": made_from, "counts": counts, **facts})  # last: it marks a finished shard
        return counts


class _Writing:
    """The second pass: writes the rows of a shard."""

    def __init__(self, settings: MixSettings, tokens: ControlTokens) -> None:
        self._settings, self._tokens = settings, tokens

    def __call__(self, shard: str, out: str) -> Counts:
        folder, name = Path(out).parents[2], Path(out).name
        path, choices = _path(folder, _COUNTS, name), _lines_path(folder, _CHOICES, name)
        survey = read_object(_path(folder, _SURVEYS, name))
        if survey["made_from"][-1] != content_digest(shard):
            raise DataError(f"{shard}: has changed since the build began; repeat the command")
        made_from = [*survey["made_from"], digest(choices)]
        if (done := _finished(path, made_from)) is not None:
            return done
        (choice,) = _lines(choices)
        rows = RowFile(shard, "compressed", is_part=True, known=True)  # by its digest, the survey validated them
        tally, histogram = Tally(), Histogram()
        set_aside(rows, (Reject(*each) for each in choice["rejects"]), tally)
        for side, (fixed, plain, policy) in choice["sides"].items():
            chosen = Side(fixed, set(plain), [(number, ratio) for number, ratio in policy])
            mixed = side_rows(rows, chosen, self._tokens, self._settings)
            place = path_beside(folder / side / name, "jsonl")  # which `ratio-sft train` reads in place
            if not mixed:
                place.unlink(missing_ok=True)  # of a run that selected others
                remove_leftovers(place)
                continue
            tally.written += write_records(place, mixed)
            if side == "train":
                histogram.add(mixed)
        more = {"read": 0, "written": tally.written, "rejected": tally.reasons}
        rejected = path_beside(folder / _WORK / _SURVEYS / name, "rejected.jsonl")
        for row in _lines(rejected) if rejected.exists() else ():
            tally.reject(row, row["reject_reason"], row["reject_detail"])
        tally.write_rejected(folder / "train" / name)
        remove_leftovers(path_beside(folder / "train" / name, "rejected.jsonl"))
        counts = {"read": len(rows), "written": tally.written, "rejected": tally.reasons}
        write_json(path, {"made_from": made_from, "counts": counts, "more": more, "histogram": histogram.content()})
        return counts


def _path(folder: Path, kind: str, name: str) -> Path:
    """The file that a pass writes about a shard; its name is not that of a manifest or of a shard."""
    return path_beside(folder / _WORK / kind / name, "found.json")


def _lines_path(folder: Path, kind: str, name: str) -> Path:
    return path_beside(folder / _WORK / kind / name, "found.lines")


def _finished(path: Path, made_from: list[str]) -> Counts | None:
    """The counts of a shard that an earlier run finished; None, and no file, if none did, or from something else."""
    found: Row = read_object(path) if path.is_file() else {"made_from": None}
    if found["made_from"] == made_from:
        return {**found["counts"], "was_there": True}
    path.unlink(missing_ok=True)
    return None


def _trace_lines(keys: list[TraceKey], rows: RowFile, usable: dict[int, Usable]) -> Iterator[Row]:
    """What a survey finds about each trace, as JSON values."""
    for number, key in enumerate(keys):
        line: Row = {**key._asdict(), "question": key.question.hex(), "where": rows.where(number)}
        if number in usable:
            line["usable"] = [usable[number].tokens, usable[number].question.hex()]
        yield line


def _lines(path: Path) -> Iterator[Row]:
    """The rows of a file of this build."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _choices(selection: Selection, firsts: list[int]) -> list[Row]:
    """What becomes of the traces of each shard, with numbers that count from 0 in each, as JSON values.

    Args:
        selection: What becomes of all traces.
        firsts: Number of the first trace of each shard, and the number of all traces.
    """
    choices: list[Row] = [
        {"sides": {name: ([], [], []) for name in selection.sides}, "rejects": []} for _ in firsts[1:]
    ]

    def place(number: int) -> tuple[Row, int]:
        shard = bisect_right(firsts, number) - 1
        return choices[shard], number - firsts[shard]

    for name, side in selection.sides.items():
        for which, numbers in enumerate((side.fixed, sorted(side.plain))):
            for choice, number in map(place, numbers):
                choice["sides"][name][which].append(number)
        for trace, ratio in side.policy:
            choice, number = place(trace)
            choice["sides"][name][2].append((number, ratio))
    for reject in selection.rejects:
        choice, number = place(reject.number)
        choice["rejects"].append(reject._replace(number=number))
    return choices
