"""Each package as a stranger gets it: built, installed alone into an empty environment, complete and listed there.

Slow, because torch is installed again: `pytest -m "not wheels"` leaves it out. `make dist` shares the code.
"""

import hashlib
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import dist as distributions

from .conftest import PACKAGES

HEAVY = {
    "cot-compressor": {"torch", "transformers", "trl", "datasets"},
    "ratio-sft": {"datasets", "peft", "torch", "transformers", "trl"},
    "chrpo": {"torch", "trl", "transformers"},
    "math-eval": {"torch", "transformers"},
}

PROBE = r"""
import importlib, importlib.metadata, importlib.util, json, pkgutil, re, sys
dist, name, *others = sys.argv[1:]
package = importlib.import_module(name)
missing = {}
for module in pkgutil.walk_packages(package.__path__, f"{name}.", onerror=lambda failed: None):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing[module.name] = error.name.partition(".")[0]
from click import Group
def walk(command, path):
    yield path
    if isinstance(command, Group):
        for child in command.commands.values():
            yield from walk(child, [*path, child.name])
cli = importlib.import_module(f"{name}.cli").cli
requires = importlib.metadata.requires(dist)
optional = [re.match(r"[\w.-]+", line).group() for line in requires if "extra ==" in line]
print(json.dumps({
    "file": package.__file__,
    "version": package.__version__,
    "missing": missing,
    "optional": optional,
    "present": [other for other in others if importlib.util.find_spec(other)],
    "commands": list(walk(cli, [])),
    "installed": {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()},
    "required": [re.match(r"[\w.-]+", line).group() for line in requires if "extra ==" not in line],
}))
"""

pytestmark = pytest.mark.wheels


def normal(name: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Folder of the package -> its sdist and wheel, the wheel made from the sdist."""
    return {folder: distributions.build(folder, tmp_path_factory.mktemp(folder)) for folder in PACKAGES}


@pytest.fixture(scope="session")
def materials(tmp_path_factory):
    """Interpreter of an environment that lists what another one contains."""
    return distributions.install_materials(tmp_path_factory.mktemp("materials") / "environment")


@pytest.fixture(scope="module", params=PACKAGES)
def installed(request, built, materials, tmp_path_factory):
    """(folder of the package, environment's bin folder, what the probe saw there), one package at a time."""
    folder = request.param
    environment = tmp_path_factory.mktemp("clean") / folder
    programs = distributions.install(built[folder], environment)
    others = [*(name for other, name in PACKAGES.items() if other != folder), *sorted(HEAVY[folder])]
    # The probe runs outside the repository, isolated (-I), so nothing but the environment can be imported.
    name = distributions.project(folder)["name"]
    probe = distributions.run(programs / "python", "-I", "-c", PROBE, name, PACKAGES[folder], *others, cwd=environment)
    bill = distributions.list_materials(folder, built[folder], programs, environment, materials)
    yield folder, programs, {**json.loads(probe), "bill": json.loads(bill.read_text("utf-8"))}
    shutil.rmtree(environment)


@pytest.mark.parametrize("folder", PACKAGES)
def test_an_index_would_take_both_files_and_the_wheel_contains_exactly_the_source(built, folder):
    distributions.check(folder, built[folder])
    assert f"{PACKAGES[folder]}/py.typed" in zipfile.ZipFile(built[folder].wheel).namelist()


def test_alone_it_imports_with_its_version(installed):
    folder, programs, seen = installed
    assert seen["version"] == distributions.project(folder)["version"]
    assert Path(seen["file"]).is_relative_to(programs.parent)


def test_alone_it_finds_neither_siblings_nor_what_it_does_not_need(installed):
    assert installed[2]["present"] == []


def test_a_module_that_cannot_be_imported_lacks_a_declared_extra(installed):
    _, _, seen = installed
    optional = {re.sub(r"[-_.]", "", name).lower() for name in seen["optional"]}
    for module, name in seen["missing"].items():
        assert name.replace("_", "") in optional, f"{module} needs {name}, which no extra declares"


def test_the_bill_of_materials_names_each_installed_distribution_with_its_version_and_licence(installed):
    folder, _, seen = installed
    bill, name, version = seen["bill"], distributions.project(folder)["name"], distributions.project(folder)["version"]
    assert bill["metadata"]["component"]["purl"] == f"pkg:pypi/{name}@{version}"
    assert {item["name"]: item["version"] for item in bill["components"]} == {
        other: its for other, its in seen["installed"].items() if other != name
    }
    for item in bill["components"]:
        assert item["purl"].split("?")[0] == f"pkg:pypi/{normal(item['name'])}@{quote(item['version'])}"
        licences = [entry.get("expression") or entry["license"] for entry in item["licenses"]]
        assert licences, f"{item['name']} states no licence"


def test_the_bill_of_materials_states_the_direct_requirements_and_the_wheel(installed, built):
    folder, _, seen = installed
    bill = seen["bill"]
    (root,) = (item["dependsOn"] for item in bill["dependencies"] if item["ref"] == "root-component")
    assert {normal(line) for line in seen["required"]} <= {normal(line.partition("==")[0]) for line in root}
    (digest,) = bill["metadata"]["component"]["hashes"]
    assert digest["content"] == hashlib.sha256(built[folder].wheel.read_bytes()).hexdigest()


def test_alone_every_command_shows_its_help(installed):
    folder, programs, seen = installed
    assert len(seen["commands"]) >= 3
    for path in seen["commands"]:
        text = distributions.run(programs / folder, *path, "--help", cwd=programs.parent)
        assert text.startswith(f"Usage: {' '.join([folder, *path])} [OPTIONS]")
