"""The packages share no code, so what they repeat must stay equal: schemas, modules, spellings."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"cot-compressor": "cot_compressor", "ratio-sft": "ratio_sft", "chrpo": "chrpo", "math-eval": "math_eval"}
SOURCES = {dist: ROOT / "packages" / dist / "src" / name for dist, name in PACKAGES.items()}


@pytest.mark.parametrize("module", ["records.py", "commands.py", "control.py", "lock.py", "thinking.py"])
def test_the_copies_of_a_repeated_module_are_equal(module):
    copies = [folder / module for folder in SOURCES.values() if (folder / module).exists()]
    assert len(copies) >= 2
    assert len({copy.read_text() for copy in copies}) == 1, f"{module} differs between packages"


def test_each_package_validates_with_the_published_schema():
    published = {path.name: path.read_text() for path in (ROOT / "docs/schemas").glob("*.json")}
    used = set()
    for folder in SOURCES.values():
        for copy in folder.glob("schemas/*.json"):
            if copy.name in published:
                used.add(copy.name)
                assert copy.read_text() == published[copy.name], f"{copy} differs from docs/schemas"
    assert used == published.keys()


def test_every_schema_field_says_what_it_is():
    for path in (ROOT / "docs/schemas").glob("*.json"):
        for name, field in json.loads(path.read_text())["properties"].items():
            assert field.get("description"), f"{path.name}: {name} has no description to show in an error"


@pytest.mark.parametrize("dist", PACKAGES)
def test_version_is_the_newest_of_the_changelog(dist):
    folder = ROOT / "packages" / dist
    version = re.search(r'^version = "(.+)"$', (folder / "pyproject.toml").read_text(), re.M).group(1)
    newest = re.search(r"^## (\S+)", (folder / "CHANGELOG.md").read_text(), re.M).group(1)
    assert version == newest


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
