"""Run folders, task files and unfinished outputs of strangers: checked on reading, and nothing else is written."""

import json
import os
import re
import shutil

import pytest
from click.testing import CliRunner

from math_eval import RunSettings, run
from math_eval._shared.records import dump_line
from math_eval.cli import cli
from math_eval.errors import DataError
from math_eval.run_folders import samples_file
from math_eval.tasks import load_task

ESCAPES = "\x1b[31m\x1b]0;title\x07"


def invoke(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def refuse(*words):
    """Run a command that must refuse; returns its one line, before which it may name the thinking format."""
    done = invoke(*words)
    seen = [line.split("\r")[-1].strip() for line in done.stderr.split("\n")]
    seen = [line for line in seen if not line.startswith("thinking format: ")]
    lines = [line for line in seen if line and "it/s]" not in line]  # without progress bars
    assert (done.exit_code, len(lines)) == (2, 1), done.output
    assert lines[0].startswith("error: ")
    assert not any(character < " " or character == "\x7f" for character in lines[0])
    return lines[0]


@pytest.fixture
def one(write_run):
    return write_run("run", [{"id": "a"}, {"id": "b", "verdict": "incorrect"}])


def edit(path, change):
    content = json.loads(path.read_text("utf-8"))
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed), "utf-8")


# --- paths --------------------------------------------------------------------------------------------------------

NAMES = [
    "x/../../victim/pwned",
    "/etc/passwd",
    "..\\x",
    "a\0b",
    "x\n",
    "x\r",
    f"x{ESCAPES}",
    "x\x9b",
    "x\udcc2\udc9b",
    "x" * 300,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_task_of_a_manifest_never_leads_out_of_a_folder(one, tmp_path, name):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/pwned.jsonl").write_text("precious")
    (one / "samples_x").mkdir()
    edit(one / "manifest.json", lambda content: content["settings"].update(tasks={name: "0"}))
    before = sorted(map(str, tmp_path.rglob("*")))
    for command in (
        ("grade", one, tmp_path / "out"),
        ("report", one, "--output", tmp_path / "report.html"),
        ("export", "traces", one, tmp_path / "traces.jsonl"),
        ("compare", one, one),
    ):
        assert "manifest.json: settings.tasks: task '" in refuse(*command)
    assert sorted(map(str, tmp_path.rglob("*"))) == before
    assert (tmp_path / "victim/pwned.jsonl").read_text() == "precious"
    for partial in (True, False):
        with pytest.raises(DataError, match=r"has .* in its name|has a name of"):
            samples_file(tmp_path, name, partial=partial)


@pytest.mark.parametrize("name", ["a task (1)", "größe", "..", "x.partial", "a:b"])
def test_other_names_stay_names(tmp_path, name):
    assert samples_file(tmp_path, name).parent == tmp_path


def test_the_name_of_a_problems_file_is_checked_before_a_model_is_loaded(tmp_path):
    for name in (f"x{ESCAPES}\n", "x" * 230):
        path = tmp_path / f"{name}.jsonl"
        path.write_text('{"id": "a", "question": "Q", "answer": "1"}\n')
        assert "in its name" in (line := refuse("run", "--model", tmp_path, "--tasks", path, "--output-dir", "r")) or (
            "has a name of 230 bytes" in line
        )


@pytest.mark.parametrize("name", ["manifest.json", "results.json", "samples_sums.jsonl", "unrelated"])
def test_a_link_out_of_a_run_folder_is_not_read(one, tmp_path, name):
    if (one / name).exists():
        (one / name).rename(tmp_path / "private")
    (one / name).symlink_to(tmp_path / "private")
    for command in (
        ("grade", one, tmp_path / "out"),
        ("report", one, "--output", tmp_path / "report.html"),
        ("export", "traces", one, tmp_path / "traces.jsonl"),
        ("compare", one, one),
    ):
        assert f"{name}: is a symbolic link to outside the folder" in refuse(*command)


def test_a_report_is_written_through_no_link(one, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "report.lm-eval").symlink_to(tmp_path / "elsewhere")
    assert "report.lm-eval: is a symbolic link" in refuse("report", one, "--output", tmp_path / "report.html")
    assert not list((tmp_path / "elsewhere").iterdir())


# --- task files ---------------------------------------------------------------------------------------------------


def task_file(folder, text):
    path = folder / "mine.toml"
    path.write_text(text, "utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (r'name = "..\n"', "name: got"),
        ('name = "../../x"', "name: got"),
        (f'name = "{"x" * 101}"', "name: got"),
        ("name = 1979-05-27", "name: got"),
        ("name = inf", "name: got"),
        ('problems = "/etc/passwd"', "problems: got .*beside this one"),
        ('problems = "../rows.jsonl"', "problems: got"),
        ('problems = "sub/rows.jsonl"', "problems: got"),
        ('problems = ".."', "problems: got"),
        (r'problems = "rows.jsonl\n"', "problems: got"),
        (r'problems = "\u001b[31m"', "problems: got"),
        ('hub = "../../private"', "hub: got"),
        ('hub = "/etc"', "hub: got"),
        ('hub = "json"', "hub: got"),
        ("x = " + "[" * 10_000, "nested too deeply"),
        ("x = " + "[" * 100_000, "has 100044 bytes, more than 16384"),
        ("x = " + "9" * 10_000, "not TOML"),
        ("x = \x00", "not TOML"),
    ],
)
def test_a_task_file_names_a_file_beside_it_and_nothing_else(tmp_path, line, message):
    (tmp_path / "rows.jsonl").write_text('{"a": "Q", "b": "1"}\n')
    with pytest.raises(DataError, match=rf"mine\.toml: .*{message}") as refused:
        load_task(task_file(tmp_path, f'{line}\nfields = {{question = "a", answer = "b"}}'))
    assert len(str(refused.value)) < 500


def test_a_task_file_follows_no_link_out_of_its_folder(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "private.jsonl").write_text('{"a": "Q", "b": "1"}\n')
    link = tmp_path / "theirs/rows.jsonl"
    link.symlink_to("../private.jsonl")
    text = 'problems = "rows.jsonl"\nfields = {question = "a", answer = "b"}'
    with pytest.raises(DataError, match=r"rows\.jsonl: is a symbolic link to another folder"):
        load_task(task_file(tmp_path / "theirs", text))
    shutil.copy(tmp_path / "private.jsonl", tmp_path / "theirs/real.jsonl")
    link.unlink()
    link.symlink_to("real.jsonl")
    assert load_task(task_file(tmp_path / "theirs", text)).problems[0]["question"] == "Q"


def test_a_dataset_of_the_hub_is_never_a_folder_here(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner/private").mkdir(parents=True)
    (tmp_path / "owner/private/test.jsonl").write_text('{"a": "Q", "b": "1"}\n')
    with pytest.raises(DataError, match="owner/private: the working folder has a file or folder of that name"):
        load_task(task_file(tmp_path, 'hub = "owner/private"\nfields = {question = "a", answer = "b"}'))


# --- unfinished outputs -------------------------------------------------------------------------------------------


class Unfinished:
    """A run and a grading that were killed: `partial` is what grows, `repeat` the command that continues."""

    def __init__(self, name, tmp_path, tiny_model, problems):
        self.folder = tmp_path / "out"
        if name == "run":
            self.folder.mkdir()
            self.partial, done = self.folder / "samples_sums.partial.jsonl", self.folder / "results.json"
            self.repeat = [
                "run", "--model", tiny_model, "--tasks", problems, "--limit", "2", "--max-tokens", "8",
                "--output-dir", self.folder,
            ]  # fmt: skip
        else:
            source = tmp_path / "in.jsonl"
            source.write_text(dump_line({"id": "a", "gold": "1", "completion": r"\boxed{1}"}) * 2)
            self.partial, done = tmp_path / ".out.partial", self.folder
            self.repeat = ["grade", source, self.folder]
        finished = invoke(*self.repeat)
        assert finished.exit_code == 0, finished.output
        samples = self.folder / "samples_sums.jsonl" if name == "run" else self.folder
        self.rows = samples.read_bytes().splitlines(keepends=True)
        done.unlink()


@pytest.fixture(params=["run", "grade"])
def unfinished(request, tmp_path, tiny_model, problems):
    return Unfinished(request.param, tmp_path, tiny_model, problems)


@pytest.mark.parametrize("kind", ["symbolic", "dangling", "hard"])
def test_an_unfinished_output_that_is_a_link_is_refused_and_its_target_kept(unfinished, tmp_path, kind):
    victim = tmp_path / "victim.txt"
    if kind != "dangling":
        victim.write_bytes(b"precious\n" + b"".join(unfinished.rows))
    (os.link if kind == "hard" else os.symlink)(victim, unfinished.partial)
    before = victim.read_bytes() if victim.exists() else None
    assert str(unfinished.partial) in refuse(*unfinished.repeat)
    assert (victim.read_bytes() if victim.exists() else None) == before
    unfinished.partial.unlink()
    assert invoke(*unfinished.repeat).exit_code == 0


@pytest.mark.parametrize(
    "content",
    [
        b"precious\n",
        b"precious",
        b"\xff\xfe\n",
        b"[1]\n",
        b'{"a": 1}\n',
        b"[" * 100_000 + b"\n",
        b'{"key": ' + b"[" * 100_000 + b"\n",
    ],
)
def test_an_unfinished_output_that_is_not_ours_stays_as_it_is(unfinished, content):
    unfinished.partial.write_bytes(unfinished.rows[0] + content)
    line = refuse(*unfinished.repeat)
    assert f"{unfinished.partial}:2: " in line
    assert "move this file away" in line
    assert unfinished.partial.read_bytes() == unfinished.rows[0] + content


def test_a_pipe_in_place_of_an_unfinished_output_is_no_hang(unfinished):
    os.mkfifo(unfinished.partial)
    line = refuse(*unfinished.repeat)
    assert "is not a file of its own" in line or "is a pipe or a device" in line


@pytest.mark.parametrize("tail", [b"", b'{"id": "a", "go', b"\0" * 100, b"\0\0{"])
def test_an_unfinished_output_of_ours_is_continued_after_its_last_whole_row(unfinished, tail):
    unfinished.partial.write_bytes(unfinished.rows[0] + tail)
    done = invoke(*unfinished.repeat)
    assert done.exit_code == 0, done.output
    assert not unfinished.partial.exists()


def test_a_stored_sample_of_a_wrong_type_is_named(tmp_path, tiny_model, problems):
    killed = Unfinished("run", tmp_path, tiny_model, problems)
    for change, message in (
        ({"verdict": "fine"}, "verdict: got"),
        ({"thinking_tokens": 10**30}, "thinking_tokens: got"),
        ({"task": "other"}, "task: sample 'sum-0-0' belongs to 'other'"),
        ({"batch": ["a"]}, "batch: got"),
    ):
        killed.partial.write_text(json.dumps({**json.loads(killed.rows[0]), **change}) + "\n")
        assert f"samples_sums.partial.jsonl:1: {message}" in refuse(*killed.repeat)


# --- content of run folders ---------------------------------------------------------------------------------------

MANIFESTS = [
    ("[]", "not a manifest"),
    ("5", "not a manifest"),
    ("{}", "not a manifest"),
    ('"\\ud800"', "not a manifest"),
    ("", "not JSON"),
    ("{", "not JSON"),
    ("[" * 100_000, "nested too deeply"),
    ('{"command": 5, "settings": {}}', "not a manifest"),
    ('{"command": "math-eval run", "settings": []}', "not a manifest"),
    ('{"command": "math-eval run", "settings": {}}', "'tasks' is missing"),
    ('{"command": "math-eval run", "command": "x", "settings": {}}', "given twice"),
]
SETTINGS = [
    ({"tasks": 5}, "settings.tasks: got 5"),
    ({"tasks": ["sums"]}, "settings.tasks: got"),
    ({"tasks": {}}, "settings.tasks: got"),
    ({"tasks": {"sums": 4}}, "settings.tasks.sums: got 4"),
    ({"ratios": 5}, "settings.ratios: got 5"),
    ({"ratios": []}, "settings.ratios: got"),
    ({"ratios": [[0.2]]}, "settings.ratios"),
    ({"ratios": ["<script>"]}, "settings.ratios"),
    ({"samples": "<meta http-equiv=refresh>"}, "settings.samples: got"),
    ({"model_sha256": ["a"]}, "settings.model_sha256: got"),
    ({"temperature": None}, "settings.temperature: got null"),
    ({"max_tokens": 10**30}, "settings.max_tokens: got"),
    ({"seeds": "a"}, "settings.seeds: got"),
    ({"ratios": [None, 0.5, None]}, "settings.ratios: null occurs twice"),
    ({"ratios": [1, 0.2, 1.0]}, "settings.ratios: 1.0 occurs twice"),
    ({"ratios": [None] * 300_000}, "settings.ratios: got"),
    ({"seeds": [7, 0, 7]}, "settings.seeds: 7 occurs twice"),
    ({"seeds": list(range(1001))}, "settings.seeds: got"),
]


def readers(folder, tmp_path):
    return [
        ("grade", folder, tmp_path / "out"),
        ("report", folder, "--output", tmp_path / "report.html"),
        ("export", "traces", folder, tmp_path / "traces.jsonl"),
        ("compare", folder, folder),
    ]


@pytest.mark.parametrize(("content", "message"), MANIFESTS)
def test_a_bad_manifest_is_named(one, tmp_path, content, message):
    (one / "manifest.json").write_text(content)
    for command in readers(one, tmp_path):
        line = refuse(*command)
        assert str(one / "manifest.json") in line
        assert message in line


@pytest.mark.parametrize(("change", "message"), SETTINGS)
def test_a_bad_setting_of_a_manifest_is_named(one, tmp_path, change, message):
    edit(one / "manifest.json", lambda content: content["settings"].update(change))
    for command in readers(one, tmp_path):
        line = refuse(*command)
        assert f"{one / 'manifest.json'}: " in line
        assert message in line


@pytest.mark.parametrize("environment", [[], 5, {"torch": 5}, {"torch": None}])
def test_a_bad_environment_of_a_manifest_is_named(one, tmp_path, environment):
    edit(one / "manifest.json", lambda content: content.update(environment=environment))
    assert "manifest.json: environment" in refuse("report", one, "--output", tmp_path / "report.html")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "other"}, "task: sample 'a' belongs to 'other'"),
        ({"task": None}, "task: got null"),
        ({"truncated": "no"}, "truncated: got"),
        ({"chosen_ratio": "<b>"}, "chosen_ratio: got"),
        ({"batch": 5}, "batch: got 5"),
        ({"wall_s": "long"}, "wall_s: got"),
        ({"completion_tokens": 10**30}, "completion_tokens: got"),
        ({"latency_s": 10**30}, "latency_s: got"),
        ({"ratio": 0.2}, "no sample of ratio none"),
    ],
)
def test_a_bad_sample_of_a_run_is_named(write_run, tmp_path, change, message):
    folder = write_run("run", [{"id": "a"}])
    edit(folder / "samples_sums.jsonl", lambda content: content.update(change))
    with (folder / "samples_sums.jsonl").open("a") as file:
        file.write("\n")
    for command in readers(folder, tmp_path):
        assert message in refuse(*command)


def test_the_results_of_a_finished_run_are_checked(tmp_path, tiny_model, problems):
    command = ["run", "--model", tiny_model, "--tasks", problems, "--limit", "1", "--max-tokens", "4", tmp_path / "r"]
    assert invoke(*command).exit_code == 0
    graded = ["grade", tmp_path / "r", tmp_path / "again"]
    assert invoke(*graded).exit_code == 0
    for change, message in (
        (lambda content: [], "row: got"),
        (lambda content: {"conditions": 5}, "conditions: got 5"),
        (lambda content: content["conditions"][0].update(accuracy="high"), "conditions[0].accuracy: got"),
        (lambda content: content["conditions"][0].update(verdicts={ESCAPES: 5}), "conditions[0].verdicts: got"),
        (lambda content: content["conditions"][0].update(verdicts={"correct": "many"}), "conditions[0].verdicts"),
    ):
        for again, folder in ((command, tmp_path / "r"), (graded, tmp_path / "again")):
            before = (folder / "results.json").read_text()
            edit(folder / "results.json", change)
            line = refuse(*again)
            assert f"{folder / 'results.json'}: {message}" in line
            (folder / "results.json").write_text(before)


@pytest.mark.parametrize("manifest", ["[]", "5", '{"settings": []}', '{"command": "math-eval run", "settings": 1}'])
def test_a_bad_manifest_in_an_output_is_named(tmp_path, tiny_model, problems, manifest):
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(DataError, match=r"r/manifest\.json: not a manifest"):
        run(RunSettings(str(tiny_model), (str(problems),)), folder)
    (tmp_path / "out.jsonl.manifest.json").write_text(manifest)
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "gold": "1", "completion": "1"}\n')
    assert "out.jsonl.manifest.json: not a manifest" in refuse("grade", source, tmp_path / "out.jsonl")


@pytest.mark.parametrize("name", ["x" * 256, f"a{ESCAPES}\udcc2\udc9b"])
def test_a_name_that_no_file_can_have_or_that_speaks_to_the_terminal_is_one_line(one, tmp_path, name):
    assert name[:1] in refuse("report", tmp_path / name, "--output", tmp_path / "report.html")
    if len(name) == 256:
        for command in (("grade", one), ("export", "traces", one)):
            refuse(*command, tmp_path / name)
    else:
        shutil.copytree(one, tmp_path / name)
        done = invoke("report", tmp_path / name, "--output", tmp_path / f"{name}.html")
        assert done.exit_code == 0, done.output
        assert not re.search("\x1b|[\ud800-\udfff]", done.output)
        assert r"\x1b[31m" in done.stdout
