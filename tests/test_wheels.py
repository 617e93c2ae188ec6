"""Each package as a stranger gets it: built, installed alone into a clean environment, and complete there.

Slow, because torch is installed anew: `pytest -m "not wheels"` leaves it out.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"cot-compressor": "cot_compressor", "ratio-sft": "ratio_sft", "chrpo": "chrpo", "math-eval": "math_eval"}
HEAVY = {
    "cot-compressor": {"trl", "datasets"},
    "ratio-sft": {"peft"},
    "chrpo": {"trl", "transformers"},
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
optional = [re.match(r"[\w.-]+", line).group() for line in importlib.metadata.requires(dist) if "extra ==" in line]
print(json.dumps({
    "file": package.__file__,
    "version": package.__version__,
    "missing": missing,
    "optional": optional,
    "present": [other for other in others if importlib.util.find_spec(other)],
    "commands": list(walk(cli, [])),
}))
"""

pytestmark = pytest.mark.wheels


def run(*command, **options):
    """Standard output of a command that must end well."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=environment, **options
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def project(dist):
    return tomllib.loads((ROOT / "packages" / dist / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """dist -> (sdist, wheel), the wheel made from the sdist."""
    files = {}
    for dist in PACKAGES:
        out = tmp_path_factory.mktemp(dist)
        run(sys.executable, "-m", "build", "--outdir", out, ROOT / "packages" / dist)
        files[dist] = (next(out.glob("*.tar.gz")), next(out.glob("*.whl")))
    return files


@pytest.fixture(scope="module", params=PACKAGES)
def installed(request, built, tmp_path_factory):
    """(dist, environment's bin folder, what the probe saw there), one package at a time."""
    dist = request.param
    folder = tmp_path_factory.mktemp("clean") / dist
    run(sys.executable, "-m", "venv", folder)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    wheel = built[dist][1]
    run(binaries / "python", "-m", "pip", "install", "--quiet", "--no-compile", "-c", ROOT / "constraints.txt", wheel)
    others = [*(name for other, name in PACKAGES.items() if other != dist), *sorted(HEAVY[dist])]
    # The probe runs outside the repository, isolated (-I), so nothing but the environment can be imported.
    probe = run(binaries / "python", "-I", "-c", PROBE, dist, PACKAGES[dist], *others, cwd=folder)
    yield dist, binaries, json.loads(probe)
    shutil.rmtree(folder)


@pytest.mark.parametrize("dist", PACKAGES)
def test_the_wheel_holds_every_source_file_and_nothing_else(built, dist):
    source = ROOT / "packages" / dist / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }
    names = zipfile.ZipFile(built[dist][1]).namelist()
    assert {name for name in names if ".dist-info/" not in name} == wanted
    assert f"{PACKAGES[dist]}/py.typed" in wanted
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.parametrize("dist", PACKAGES)
def test_the_index_would_take_both_files(built, dist):
    assert re.fullmatch(rf"{PACKAGES[dist]}-{project(dist)['version']}-py3-none-any\.whl", built[dist][1].name)
    run(sys.executable, "-m", "twine", "check", "--strict", *built[dist])


def test_alone_it_imports_with_its_version(installed):
    dist, binaries, seen = installed
    assert seen["version"] == project(dist)["version"]
    assert Path(seen["file"]).is_relative_to(binaries.parent)


def test_alone_it_finds_neither_siblings_nor_what_it_does_not_need(installed):
    assert installed[2]["present"] == []


def test_a_module_that_cannot_be_imported_lacks_a_declared_extra(installed):
    _, _, seen = installed
    optional = {re.sub(r"[-_.]", "", name).lower() for name in seen["optional"]}
    for module, name in seen["missing"].items():
        assert name.replace("_", "") in optional, f"{module} needs {name}, which no extra declares"


def test_alone_every_command_shows_its_help(installed):
    dist, binaries, seen = installed
    assert len(seen["commands"]) >= 3
    for path in seen["commands"]:
        text = run(binaries / dist, *path, "--help", cwd=binaries.parent)
        assert text.startswith(f"Usage: {' '.join([dist, *path])} [OPTIONS]")
