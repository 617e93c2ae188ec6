"""The two passes of a build over shards: killed before any change of a file, and given what does not fit together.

The passes run in this process, one shard after the other; `test_shard_mixing` has them on Ray.
"""

import itertools
import json
import os
import shutil
import signal

import pytest

from ratio_sft import MixSettings, TrainSettings, build, train
from ratio_sft._shared.ray_shards import Outcome, Report
from ratio_sft._shared.records import read_json, read_records, write_records
from ratio_sft._shared.row_files import shards
from ratio_sft.data import shard_mixing
from ratio_sft.errors import DataError

pytest.importorskip("ray", reason="needs ratio-sft[ray]")
SETTINGS = MixSettings(heldout_share=0.3, policy_share=0.3)
CHANGES = ("rename", "replace", "rmdir", "unlink")


def run_here(job, **_):
    names = [shard.file.name for shard in shards(job.source)]
    job.begin(names)
    report, step = Report(len(names)), job.make()
    for name in names:
        report.add(Outcome(name, 0.0, step(f"{job.source}/{name}", f"{job.out}/{name}"), None))
    return report


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(shard_mixing.ShardJob, "run", run_here)


@pytest.fixture
def corpus(tmp_path, trace):
    for number, name in enumerate(("a.jsonl", "b.jsonl.parquet", "manifest.jsonl")):
        rows = [trace(3 * number + place, correct=place > 0 or number > 0) for place in range(3)]
        write_records(tmp_path / "corpus" / name, rows)
    return tmp_path / "corpus"


def spread(corpus, out):
    return build(corpus, out, SETTINGS, engine="ray")


def content(out):
    """Every file of a mixture but the manifest, which has times."""
    return {
        f"{path.relative_to(out)}": path.read_bytes()
        for path in out.rglob("*")
        if path.name != "manifest.json" and path.is_file()
    }


def killed_before_change(number, work):
    """Do the work in a process that is killed before it changes a file once more; returns whether it was."""
    if pid := os.fork():
        return os.waitpid(pid, 0)[1] != 0
    left = itertools.count(number, -1)

    def dying(change):
        def either(*arguments, **options):
            if next(left) <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **options)

        return either

    for name in CHANGES:
        setattr(os, name, dying(getattr(os, name)))
    try:
        work()
    finally:
        os._exit(0)


@pytest.mark.parametrize(("before", "step"), [("nothing", 1), ("a build with other traces in a shard", 5)])
def test_a_build_killed_before_any_change_of_a_file_ends_as_an_undisturbed_one(corpus, trace, tmp_path, before, step):
    spread(corpus, tmp_path / "expected")
    expected, good = content(tmp_path / "expected"), (corpus / "a.jsonl").read_text()
    for number in itertools.count(0, step):
        out = tmp_path / f"mix-{number}"
        if before != "nothing":
            write_records(corpus / "a.jsonl", [trace(20 + place) for place in range(2)])
        killed = killed_before_change(number, lambda out=out: spread(corpus, out))
        (corpus / "a.jsonl").write_text(good)
        if not killed or (before != "nothing" and out.exists()):
            break
        spread(corpus, out)
        assert content(out) == expected, f"killed before change {number}"
        shutil.rmtree(out)
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert number > 50


def test_names_of_shards_are_no_names_of_its_own_files(corpus, tmp_path):
    spread(corpus, tmp_path / "mix")
    build(corpus, tmp_path / "one", SETTINGS)
    rows = [
        sorted(map(json.dumps, read_records(path, "sft")))
        for path in (tmp_path / "mix/train", tmp_path / "one/train.jsonl")
    ]
    assert rows[0] == rows[1]
    assert read_json(tmp_path / "mix/card.json")["counts"]["rejected"] == 1


def test_a_shard_that_changes_between_the_passes_is_refused(corpus, tmp_path, monkeypatch):
    good, select = (corpus / "a.jsonl").read_text(), shard_mixing.ShardMixing.select

    def change(mixing):
        found = select(mixing)
        (corpus / "a.jsonl").write_text(good + good.splitlines()[-1].replace('"p2"', '"p99"') + "\n")
        return found

    monkeypatch.setattr(shard_mixing.ShardMixing, "select", change)
    with pytest.raises(DataError, match=r"a\.jsonl: has changed since the build began; repeat the command"):
        spread(corpus, tmp_path / "mix")
    monkeypatch.setattr(shard_mixing.ShardMixing, "select", select)
    assert spread(corpus, tmp_path / "mix")["counts"]["traces_read"] == 10


def test_a_survey_that_lost_traces_is_not_taken_for_a_whole_one(corpus, tmp_path, monkeypatch):
    def stop(mixing):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shard_mixing.ShardMixing, "select", stop)
        with pytest.raises(KeyboardInterrupt):
            spread(corpus, tmp_path / "mix")
    found = tmp_path / ".mix.partial/work/surveys/a.found.lines"
    found.write_text("".join(found.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"a\.found\.lines: not all traces of a\.jsonl; remove .*\.mix\.partial"):
        spread(corpus, tmp_path / "mix")


def test_a_shard_without_rows_needs_no_ladder(corpus, tmp_path):
    (corpus / "empty.jsonl").touch()
    settings = MixSettings(heldout_share=0, switches=((0.2, "/no_think"),))
    card = build(corpus, tmp_path / "mix", settings, engine="ray")
    assert card["counts"]["traces_read"] == 9


def test_another_engine_and_other_settings_are_refused_with_what_differs(corpus, tmp_path, monkeypatch):
    def fail(mixing):
        raise DataError("stop")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_mixing.ShardMixing, "select", fail)
        with pytest.raises(DataError, match="stop"):
            spread(corpus, tmp_path / "mix")
    with pytest.raises(DataError, match=r"unfinished run with other settings .*engine was 'ray', is None.*--overwrite"):
        build(corpus, tmp_path / "mix", SETTINGS)
    build(corpus, tmp_path / "mix", SETTINGS, overwrite=True)
    assert (tmp_path / "mix/train.jsonl").is_file()
    with pytest.raises(DataError, match="engine must be local or ray; got 'Ray'"):
        build(corpus, tmp_path / "other", SETTINGS, engine="Ray")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row, r"b\.jsonl:9: id 'p0', sample 0, model '.*' appears twice"),
        (lambda row: {**row, "sample": 5, "question": "other"}, r"b\.jsonl:9: id 'p0' belongs to two questions"),
        (
            lambda row: {**row, "id": "n", "compressions": [{**row["compressions"][0], "tokenizer": "other"}]},
            "compressed with several tokenizers",
        ),
        (
            lambda row: {**row, "id": "n", "compressions": [{**row["compressions"][0], "ratio": 0.3}]},
            r"a\.parquet has ratios 0\.2, 0\.6, 1, all shards together 0\.2, 0\.3, 0\.6, 1; name the ladder",
        ),
    ],
)
def test_shards_that_do_not_fit_together_are_refused(tmp_path, trace_shards, trace, change, message):
    found = list(read_records(trace_shards / "b.jsonl", "compressed"))
    write_records(trace_shards / "b.jsonl", [*found[:8], change(trace(0))])
    with pytest.raises(DataError, match=message):
        build(trace_shards, tmp_path / "mix", SETTINGS, engine="ray")
    assert not (tmp_path / "mix").exists()


def test_a_mixture_of_shards_is_trained_as_one_of_a_file(tmp_path, trace_shards, base):
    settings = MixSettings(heldout_share=0.2, policy_share=0)
    for engine in ("ray", "local"):
        build(trace_shards, tmp_path / engine, settings, engine=engine)
        options = {"model": str(base), "max_steps": 2, "batch_size": 2}
        train(tmp_path / engine, tmp_path / f"sft-{engine}", TrainSettings(**options))
    reports = [read_json(tmp_path / f"sft-{engine}" / "train_report.json") for engine in ("ray", "local")]
    assert reports[0]["heldout_loss"] == reports[1]["heldout_loss"]
    written = [(tmp_path / f"sft-{engine}" / "model.safetensors").read_bytes() for engine in ("ray", "local")]
    assert written[0] == written[1]
