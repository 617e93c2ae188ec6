"""The packages share no code, so what they repeat must stay equal: schemas, modules, spellings."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import PACKAGES

ROOT = Path(__file__).parents[1]
SOURCES = {dist: ROOT / "packages" / dist / "src" / name for dist, name in PACKAGES.items()}


def test_every_copy_of_shared_code_equals_its_source():
    done = subprocess.run([sys.executable, ROOT / "tools/sync_shared.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_changed_a_missing_and_a_foreign_copy_are_found(tmp_path):
    shutil.copytree(ROOT / "packages", tmp_path / "packages", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    script = tmp_path / "tools/sync_shared.py"
    script.parent.mkdir()
    shutil.copy(ROOT / "tools/sync_shared.py", script)
    folder = tmp_path / "packages/chrpo/src/chrpo/_shared"
    changed, missing, foreign = folder / "records.py", folder / "schemas/samples.schema.json", folder / "more.py"
    changed.write_text(changed.read_text() + "\n")
    missing.unlink()
    foreign.write_text("")
    check = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert check.returncode == 1
    for path in (changed, missing, foreign):
        assert str(path.relative_to(tmp_path)) in check.stdout
    subprocess.run([sys.executable, script], check=True)
    assert subprocess.run([sys.executable, script, "--check"]).returncode == 0
    assert missing.is_file()
    assert not foreign.exists()


def test_every_schema_field_says_what_it_is():
    for path in (ROOT / "packages/_shared/schemas").glob("*.json"):
        for name, field in json.loads(path.read_text())["properties"].items():
            assert field.get("description"), f"{path.name}: {name} has no description to show in an error"


@pytest.mark.parametrize("dist", PACKAGES)
def test_version_is_the_newest_of_the_changelog(dist):
    folder = ROOT / "packages" / dist
    version = re.search(r'^version = "(.+)"$', (folder / "pyproject.toml").read_text(), re.M).group(1)
    newest = re.search(r"^## (\S+)", (folder / "CHANGELOG.md").read_text(), re.M).group(1)
    assert version == newest


def test_nothing_installs_the_other_project_that_the_index_calls_math_eval():
    """Our distribution is cot-math-eval; its folder, its command and its import are not."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    wrong = re.compile(r"(?<![\w/-])math-eval\[|pip install\b.*(?<![\w/-])math-eval\b")
    for path in map(ROOT.joinpath, listed.stdout.splitlines()):
        if path.suffix in {".md", ".py", ".toml", ".txt", ".yaml", ".yml"} and path.is_file():
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                assert not wrong.search(line) or path.parent == ROOT / "tests", (
                    f"{path}:{number}: install cot-math-eval"
                )


def test_every_link_of_the_documents_leads_somewhere():
    for page in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("packages/*/*.md"),
        *ROOT.glob("examples/*/*.md"),
    ]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: no {target}"
