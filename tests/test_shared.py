"""The shared code of packages/_shared, tested in one of its copies, since `make check` holds them equal."""

import errno
import gzip
import io
import json
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import warnings
from base64 import b64encode
from contextlib import suppress
from html import escape
from urllib.parse import quote

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from math_eval._shared import progress, row_files, runs
from math_eval._shared.boxed import find_boxes, last_boxed
from math_eval._shared.checkpoint_files import check_checkpoint, check_inside, has_weights
from math_eval._shared.cli_group import CommandGroup
from math_eval._shared.intervals import bootstrap, ratio, wilson
from math_eval._shared.lock import locked
from math_eval._shared.records import dump_line, open_atomic, parse_json, read_records, write_records
from math_eval._shared.secret_text import without_key
from math_eval.errors import DataError

BUILD, SETTINGS = "ratio-sft build", {"seed": 0, "input": {"traces": "ab", "teacher": None}}


def finish(out, settings=SETTINGS, command=BUILD):
    runs.write_manifest(out / runs.MANIFEST, command, settings, ["click", "no-such-package"])


# --- runs -------------------------------------------------------------------------------------------------------------


def state(out, settings=SETTINGS, *, overwrite=False, done=True):
    return runs.resolve_state(out / runs.MANIFEST, BUILD, settings, done=out if done else None, overwrite=overwrite)


def test_an_output_is_new_then_finished_and_new_again_with_overwrite(tmp_path):
    out = tmp_path / "mix"
    assert state(out) == "new"
    out.mkdir()
    assert state(out) == "new", "an empty folder is nobody's"
    finish(out)
    assert state(out) == "finished"
    assert state(out, overwrite=True) == "new"


def test_a_working_folder_that_was_removed_only_in_part_is_not_continued(tmp_path, monkeypatch):
    out = tmp_path / "mix"
    work = runs.partial_path(out)
    finish(work)
    (work / "rows.jsonl").touch()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda folder, **_: (folder / runs.MANIFEST).unlink(missing_ok=True))
        runs.remove_partial(out)
    assert [path.name for path in tmp_path.rglob("*")] == [".mix.old", "rows.jsonl"]
    assert state(work, done=False) == "new"
    runs.remove_leftovers(out)
    assert not list(tmp_path.iterdir())


def test_partial_work_of_the_same_settings_goes_on(tmp_path):
    work = runs.partial_path(tmp_path / "mix")
    assert work.name == ".mix.partial"
    assert state(work, done=False) == "new"
    finish(work)
    assert state(work, done=False) == "partial"
    assert state(work, done=False, overwrite=True) == "partial"


def test_other_settings_are_refused_with_both_values_and_the_remedy(tmp_path):
    finish(tmp_path / "mix")
    changed = {"seed": 1, "input": {"traces": "cd"}}
    with pytest.raises(DataError) as refused:
        state(tmp_path / "mix", changed)
    assert "mix: made with other settings (input.traces was 'ab', is 'cd'; seed was 0, is 1)" in str(refused.value)
    assert "name another output, or add --overwrite" in str(refused.value)
    with pytest.raises(DataError, match=r"an unfinished run with other settings .*finish it with those settings"):
        state(tmp_path / "mix", changed, done=False)
    assert state(tmp_path / "mix", changed, overwrite=True) == "new"


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_another_program_made_is_never_replaced(tmp_path, overwrite):
    folder, file = tmp_path / "photos", tmp_path / "thesis.txt"
    folder.mkdir()
    (folder / "me.jpg").touch()
    file.touch()
    for foreign in (folder, file):
        with pytest.raises(DataError, match="already there, and not written by ratio-sft build"):
            state(foreign, overwrite=overwrite)
    finish(tmp_path / "other", command="chrpo train")
    with pytest.raises(DataError, match="written by chrpo train, not by ratio-sft build"):
        state(tmp_path / "other", overwrite=overwrite)


def test_a_folder_in_which_a_process_was_killed_before_its_manifest_is_new(tmp_path):
    work = tmp_path / ".mix.partial"
    work.mkdir()
    (work / ".manifest.json.123.tmp").write_text("{")
    assert state(work, done=False) == "new"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"command": 3}', '{"command": "chrpo train"}', '{"command": "chrpo train", "settings": []}'],
)
def test_a_corrupted_manifest_is_one_clear_error(tmp_path, text):
    path = tmp_path / "mix" / runs.MANIFEST
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        state(path.parent)


def test_a_manifest_has_command_settings_and_the_versions_of_what_is_installed(tmp_path):
    finish(tmp_path)
    found = json.loads((tmp_path / runs.MANIFEST).read_text())
    assert list(found) == ["command", "settings", "versions"]
    assert found["settings"] == SETTINGS
    assert found["versions"].keys() == {"python", "click"}
    assert runs.manifest_path(tmp_path) == tmp_path / "manifest.json"
    assert runs.manifest_path(tmp_path / "rows.jsonl") == tmp_path / "rows.jsonl.manifest.json"


def test_a_setting_that_is_off_equals_an_absent_one_and_nothing_else_does():
    assert runs.differing({"a": 1}, {"a": 1, "b": None, "c": False, "d": [], "e": {"f": ""}}) == []
    assert runs.differing({"a": (1, 2)}, {"a": [1, 2]}) == []
    assert runs.differing({"a": 1}, {"a": 1.5}) == ["a was 1, is 1.5"]
    assert runs.differing({"a": "x" * 100}, {}) == [f"a was '{'x' * 56}..., is None"]
    long = "think step by step, " * 10
    assert runs.differing({"a": f"{long}then box it"}, {"a": f"{long}then say it"}) == [
        "a was ... step by step, then box it', is ... step by step, then say it'"
    ]


def test_a_digest_changes_with_names_and_contents_and_not_with_the_place(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / "x.json").write_text("1")
        (folder / "y.bin").write_text("2")
    assert runs.digest(first) == runs.digest(second)
    assert runs.digest(first / "x.json") == runs.digest(second / "x.json") != runs.digest(first / "y.bin")
    (second / "y.bin").write_text("3")
    assert runs.digest(first) != runs.digest(second)
    assert runs.digest(first, ["*.json"]) == runs.digest(second, ["*.json"])
    (second / "x.json").rename(second / "z.json")
    assert runs.digest(first, ["*.json"]) != runs.digest(second, ["*.json"])
    with pytest.raises(DataError, match="no such file; check the path"):
        runs.digest(tmp_path / "absent")


def test_publishing_replaces_a_folder_or_a_file_whole(tmp_path):
    for kind in ("folder", "file"):
        complete, out = tmp_path / f"new_{kind}", tmp_path / kind
        for path, text in ((complete, "new"), (out, "old")):
            if kind == "folder":
                path.mkdir()
                (path / text).touch()
            else:
                path.write_text(text)
        runs.publish(complete, out)
        assert not complete.exists()
        assert [path.name for path in out.iterdir()] == ["new"] if kind == "folder" else out.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_an_output_that_is_read_or_contains_what_is_read_is_refused(tmp_path):
    source = tmp_path / "in" / "rows.jsonl"
    source.parent.mkdir()
    source.touch()
    link = tmp_path / "link.jsonl"
    link.symlink_to(source)
    for out in (source, link, source.parent):
        with pytest.raises(DataError, match="which is read; name another output"):
            runs.check_apart([out], [source])
    runs.check_apart([tmp_path / "out"], [source, tmp_path / "absent"])


def test_a_lock_keeps_a_second_run_out_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    with locked(out):
        with pytest.raises(DataError, match="another process is writing it"), locked(out):
            pass
        with locked(out, rank=1):
            assert len(list(tmp_path.iterdir())) == 2
    out.mkdir()
    os.chdir(out)
    with locked(type(out)(".")):
        assert (tmp_path / ".out.0.lock").exists()
    assert not any(path.name.endswith(".lock") for path in tmp_path.iterdir())


# --- intervals --------------------------------------------------------------------------------------------------------


def test_the_wilson_interval_of_a_published_example():
    # Newcombe 1998, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(4, 4, z=1.6448536)[0] == pytest.approx(4 / (4 + 1.6448536**2))


@given(st.integers(0, 50), st.integers(1, 50))
def test_a_wilson_interval_contains_the_share_and_lies_in_0_to_1(successes, trials):
    successes = min(successes, trials)
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1


def test_the_bootstrap_interval_is_deterministic_and_near_the_normal_one():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    columns = [values.tolist(), [1.0] * 400]
    low, high = bootstrap(columns, ratio, seed=4)
    assert (low, high) == bootstrap(columns, ratio, seed=4)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert all(map(math.isnan, bootstrap([[1.0], [1.0]], ratio)))


# --- boxes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{1} and \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{3} or \boxed{4", "3"),
        (r"\boxed {\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\fbox{7}", "7"),
        (r"\boxed{}", ""),
        (r"{\boxed{1}", "1"),
        ("no box", None),
    ],
)
def test_the_last_balanced_box(text, content):
    assert last_boxed(text) == content


def test_a_million_open_boxes_are_reported_in_one_pass():
    assert find_boxes(r"\boxed{" * 1_000_000) == ([], True)


# --- checkpoint folders -----------------------------------------------------------------------------------------------


def test_only_a_folder_with_config_and_safetensors_is_a_checkpoint(tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(DataError, match="no such folder; --encoder is a local"):
        check_checkpoint(folder, "--encoder")
    folder.mkdir()
    with pytest.raises(DataError, match=r"no config\.json"):
        check_checkpoint(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"no weights .*is the download complete"):
        check_checkpoint(folder)
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(DataError, match=r"only pickle weights \(pytorch_model.bin\), which can run code"):
        check_checkpoint(folder)
    (folder / "model.safetensors").touch()
    assert check_checkpoint(folder) == folder
    assert has_weights(folder)


# --- progress ---------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


def test_a_log_gets_at_most_one_line_every_ten_seconds(monkeypatch):
    clock, log = Clock(), io.StringIO()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(sys, "stderr", log)
    with progress.progress_bar(total=350, desc="steps", mininterval=0) as bar:
        for number in range(350):
            clock.now += 0.1
            bar.set_postfix(loss=number)
            bar.update()
    lines = log.getvalue().splitlines()
    assert len(lines) == 3, lines
    assert "\r" not in log.getvalue()
    assert all(line.startswith("steps:") for line in lines)


def test_a_bar_shows_a_name_without_the_marks_that_reorder_text(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.progress_bar(total=2, desc="abc\u202efed\x1b]0;t\x07 (resumed)", mininterval=0) as bar:
        bar.update(2)
    shown = terminal.getvalue()
    assert r"abc\u202efed\x1b]0;t\x07 (resumed)" in shown
    assert not {"\u202e", "\x07"} & set(shown)


# --- hostile files ----------------------------------------------------------------------------------------------------


def test_a_lock_that_is_a_link_or_another_file_leaves_its_target_alone(tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    lock = tmp_path / ".out.0.lock"
    lock.symlink_to(precious)
    with pytest.raises(DataError, match="is a symbolic link"), locked(tmp_path / "out"):
        pass
    lock.unlink()
    lock.write_text("mine too")
    with pytest.raises(DataError, match="is not an empty file"), locked(tmp_path / "out"):
        pass
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(DataError, match="is not an empty file"), locked(tmp_path / "out"):
        pass
    assert precious.read_text() == "mine"


def test_an_atomic_file_replaces_a_link_and_leaves_its_target_alone(tmp_path):
    precious, out = tmp_path / "precious.txt", tmp_path / "out.jsonl"
    precious.write_text("mine")
    out.symlink_to(precious)
    assert write_records(out, [{"a": 1}]) == 1
    assert not out.is_symlink()
    assert precious.read_text() == "mine"


def test_an_atomic_file_respects_the_umask(tmp_path):
    for mask, mode in ((0o077, 0o600), (0o022, 0o644)):
        before = os.umask(mask)
        try:
            write_records(tmp_path / "out.jsonl", [{"a": 1}])
        finally:
            os.umask(before)
        assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == mode


def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_live_writers_file_is_not(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from math_eval._shared.records import open_atomic\n"
        "with open_atomic(Path(sys.argv[1])) as out: out.write('half'); out.flush(); os.kill(os.getpid(), 9)"
    )
    out = tmp_path / "out.jsonl"
    subprocess.run([sys.executable, "-c", code, out])
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    with open_atomic(out) as first:
        with open_atomic(out) as second:
            assert len(list(tmp_path.glob(".out.jsonl.*.tmp"))) == 2
            second.write("second\n")
        first.write("first\n")
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert out.read_text() == "first\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"gold": "1", "gold": "2"}', r":1: not JSON \(field 'gold' is given twice\)"),
        ('{"gold": \n', r":1: not JSON \(Expecting value at column 9\); is the file incomplete or not JSON Lines\?"),
        ('{"id": "a", "more": {"x": [1, 1e999]}}', r":1: more\.x\.1: the number is too large for a float"),
        (f'{{"more": {{"x": [1, -1{"0" * 400}]}}}}', r":1: more\.x\.1: the number is too large for a float"),
        ("1" * 400 + ".0", r":1: value: the number is too large"),
        ('{"x": 1e999, "y": 5 6}', r":1: value: the number is too large"),
        ('{"x": 1e999, "y": ' + "[" * 100_000, r":1: (value: the number is too large|nested too deeply)"),
    ],
)
def test_a_row_that_json_would_change_in_silence_is_refused(tmp_path, line, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(line)
    with pytest.raises(DataError, match=re.escape(str(path)) + message):
        list(read_records(path, "problems"))


def test_a_large_exponent_that_fits_is_read():
    assert parse_json('{"a": 1e300, "b": -1E+0299, "c": 1e-999}', "here") == {"a": 1e300, "b": -1e299, "c": 0.0}


def test_a_file_of_blank_lines_is_refused_before_its_end(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wb") as out:
        for _ in range(400):
            out.write(b"\n" * 1_000_000)
    with pytest.raises(DataError, match=r":100001: 100001 blank lines; expected JSON Lines"):
        list(read_records(path, "problems"))


@pytest.mark.parametrize("line", [b" " * 999 + b"\n", b'{"id": "same", "question": "q", "answer": "1"}\n'])
def test_a_file_that_unpacks_to_very_much_is_refused_before_its_end(tmp_path, monkeypatch, line):
    monkeypatch.setattr(row_files, "MAX_UNPACKED", 100_000)
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(line * 40_000))
    number = 100 * path.stat().st_size // len(line) + 1
    with pytest.raises(DataError, match=rf":{number}: more than \d+ characters, 100 times the file's size; unpack it"):
        list(read_records(path, "problems"))
    monkeypatch.undo()
    path.write_bytes(gzip.compress(line * 1000 + b'{"id": "a", "question": "q", "answer": "1"}'))
    assert list(read_records(path, "problems"))


@pytest.mark.parametrize("depth", [300, 600, 900, 990, 100_000])
def test_a_row_nested_at_any_depth_is_read_and_written_or_refused_by_its_place(tmp_path, depth):
    path = tmp_path / "rows.jsonl"
    for inner in ("[" * depth + "]" * depth, '{"n":' * depth + "1e999" + "}" * depth):
        path.write_text(f'{{"id": "a", "question": "q", "answer": "1", "more": {inner}}}\n')
        with suppress(DataError):
            write_records(tmp_path / "out.jsonl", read_records(path, "problems"))
    deep = []
    for _ in range(depth):
        deep = [deep]
    with suppress(DataError):
        dump_line({"id": "a", "more": deep})


def test_a_row_too_deep_to_write_is_named():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match=r"^id 'a': nested too deeply to be a record; flatten it$"):
        dump_line({"id": "a", "more": deep})


# --- commands ---------------------------------------------------------------------------------------------------------


class PanicException(BaseException):
    """What a library in Rust raises; see pyo3."""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            DataError("bad \x1b[31mred\x1b]0;title\x07 \u202eanswer"),
            2,
            r"error: bad \x1b[31mred\x1b]0;title\x07 \u202eanswer",
        ),
        (PanicException("no such regex"), 1, "error: PanicException: no such regex (--debug shows the traceback)"),
        (ValueError("two\nlines"), 1, "error: ValueError: two lines (--debug shows the traceback)"),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5),
            2,
            "error: [Errno 36] File name too long: 'xxxxx'",
        ),
    ],
)
def test_a_command_ends_in_one_line_that_speaks_to_no_terminal(error, code, line):
    @click.group(cls=CommandGroup)
    def cli(): ...

    @cli.command()
    def fail():
        raise error

    done = CliRunner().invoke(cli, ["fail"])
    assert done.exit_code == code
    assert done.stderr == f"{line}\n"
    debugged = CliRunner().invoke(cli, ["--debug", "fail"])
    assert debugged.exit_code == code
    assert "raise error" in debugged.stderr
    assert not re.search("[\x00-\x08\x0b-\x1f]", debugged.stderr)


KEY = "sk-Ab3/dE+f9Gh=Jk1234"


def test_what_libraries_print_in_a_command_reaches_no_terminal_as_it_is_and_has_no_key(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", KEY)
    words = f"\x1b[31mred\x1b[0m \x1b]0;title\x07 {KEY}\nerror: forged"

    @click.group(cls=CommandGroup)
    def cli(): ...

    @cli.command()
    def chat():
        logger = logging.getLogger("a_library")
        logger.addHandler(logging.StreamHandler(sys.stderr))
        logger.warning("log %s", words)
        try:
            raise ValueError(f"traceback {words}")
        except ValueError:
            logger.exception("failed")
        # pytest keeps warnings from being printed.
        click.echo(warnings.formatwarning(f"warning {words}", UserWarning, "library.py", 1), err=True)
        thread = threading.Thread(target=lambda: [][len(words)], name="t\x1b]0;title\x07")
        thread.start()
        thread.join()
        raise ValueError(f"end {words}")

    factory, formatted, hook = logging.getLogRecordFactory(), warnings.formatwarning, threading.excepthook
    try:
        with pytest.raises(SystemExit):
            cli.main(["chat"])
    finally:
        logging.setLogRecordFactory(factory)
        warnings.formatwarning, threading.excepthook = formatted, hook
    printed = capsys.readouterr().err
    assert not re.search("[\x00-\x08\x0b-\x1f]", printed)
    assert KEY not in printed
    assert not re.search("^error: forged", printed, re.MULTILINE)
    shown = r"red \x1b]0;title\x07 [key]"
    for part in (f"log {shown}", f"traceback {shown}", f"warning {shown}", "IndexError", r"end \x1b[31mred"):
        assert part in printed


@pytest.mark.parametrize(
    "spelling",
    [
        *(KEY, KEY.upper(), quote(KEY), quote(KEY, safe=""), quote(KEY, safe="").lower(), quote(quote(KEY, safe=""))),
        *(KEY.replace("/", "\\/"), "".join(f"\\u{ord(each):04X}" for each in KEY), KEY.encode().hex()),
        *(escape(KEY).replace("/", "&#x2F;").replace("=", "&#61;"), "".join(f"%{ord(each):02x}" for each in KEY)),
    ],
)
def test_a_key_is_removed_however_it_is_spelled(spelling):
    assert without_key(f"<{spelling}>", KEY) == "<[key]>"


@pytest.mark.parametrize("before", ["", "a", "ab", "Bearer ", "user:"])
def test_a_key_in_base64_is_removed_but_for_its_edges(before):
    coded = b64encode(f"{before}{KEY}\n".encode()).decode()
    assert len(without_key(coded, KEY).replace("[key]", "")) <= len(b64encode(before.encode())) + 6


def test_a_short_key_changes_no_word_that_only_resembles_it():
    assert without_key("EMPTY empty RU1QVFk=", "EMPTY") == "[key] empty RU1QVFk="


def test_a_pipe_in_the_place_of_an_old_output_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / ".mix.old")
    runs.remove_leftovers(tmp_path / "mix")
    assert (tmp_path / ".mix.old").exists()


def test_a_working_folder_with_a_link_is_refused(tmp_path):
    work = tmp_path / "work"
    (work / "checkpoints/checkpoint-3").mkdir(parents=True)
    runs.check_no_links(work)
    runs.check_no_links(tmp_path / "absent")
    (tmp_path / "link").symlink_to(work)
    (work / "checkpoints/checkpoint-3/model.safetensors").symlink_to("/dev/zero")
    for folder in (work, tmp_path / "link"):
        with pytest.raises(DataError, match="is a symbolic link, which a working folder never contains; remove"):
            runs.check_no_links(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_hides_no_link(tmp_path):
    hidden = tmp_path / "work/final"
    hidden.mkdir(parents=True)
    (hidden / "config.json").symlink_to(tmp_path / "mine")
    hidden.chmod(0o333)
    try:
        with pytest.raises(DataError, match=r"work/final: cannot be listed \(Permission denied\); remove"):
            runs.check_no_links(tmp_path / "work")
        with pytest.raises(DataError, match="work/final: cannot be listed, so its files are not checked"):
            check_inside(tmp_path / "work")
    finally:
        hidden.chmod(0o755)


def test_a_working_folder_with_a_further_name_of_a_file_elsewhere_is_refused(tmp_path):
    (tmp_path / "mine").write_text("no line break")
    (tmp_path / "work").mkdir()
    (tmp_path / "work/rows-0of1.jsonl").hardlink_to(tmp_path / "mine")
    with pytest.raises(DataError, match=r"rows-0of1\.jsonl: is a hard link, which a working folder never contains"):
        runs.check_no_links(tmp_path / "work")


def test_publishing_follows_no_link_in_the_place_of_the_old_output(tmp_path):
    for name in ("victim", "out", "complete"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / ".out.old").symlink_to(tmp_path / "victim")
    runs.publish(tmp_path / "complete", tmp_path / "out")
    assert (tmp_path / "out/file").read_text() == "complete"
    assert (tmp_path / "victim/file").read_text() == "victim"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "victim"]


def test_the_digest_of_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(DataError, match="no such file; check the path"):
            runs.digest(path)
