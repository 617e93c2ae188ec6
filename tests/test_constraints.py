"""Bounds of the dependencies, and the constraint files: each pin has hashes and lies within the bounds."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .conftest import PACKAGES

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import bounds  # noqa: E402

FILES = sorted(ROOT.glob("constraints*.txt"))
ENVIRONMENTS = {
    "constraints.txt": {
        "chrpo": ["lora", "parquet", "trl"],
        "cot-compressor": ["llm", "onnx", "parquet", "ray", "train"],
        "math-eval": ["champ", "hub", "openai", "parquet", "ray", "transformers"],
        "ratio-sft": ["lora", "parquet", "ray", "train"],
    },
    "constraints-gym.txt": {"math-eval": ["reasoning-gym"]},
    "constraints-verl.txt": {"chrpo": ["verl"]},
    "constraints-vllm.txt": {"math-eval": []},
}
"""Packages and extras of each environment."""


def pins(file: Path) -> list[tuple[Requirement, list[str]]]:
    """Each pin of a constraint file and its hashes."""
    text = re.sub(r"^#.*\n", "", file.read_text("utf-8"), flags=re.M).replace("\\\n", " ")
    entries = [line.split("--hash=sha256:") for line in text.splitlines()]
    return [(Requirement(entry[0]), [digest.strip() for digest in entry[1:]]) for entry in entries]


def asked(folder: str) -> dict[str, list[Requirement]]:
    """Requirements of a package; the key is the extra, or "" for those without one. Extras of its own are left out."""
    table = tomllib.loads((ROOT / "packages" / folder / "pyproject.toml").read_text("utf-8"))["project"]
    lists = {"": table["dependencies"], **table["optional-dependencies"]}
    found = {extra: [Requirement(line) for line in lines] for extra, lines in lists.items()}
    return {extra: [line for line in lines if line.name != table["name"]] for extra, lines in found.items()}


@pytest.mark.parametrize("folder", PACKAGES)
def test_each_dependency_has_a_lower_and_an_upper_bound(folder):
    for requirement in (line for lines in asked(folder).values() for line in lines):
        operators = {part.operator for part in requirement.specifier}
        assert operators == {">=", "<"}, f"{folder}: {requirement}"


@pytest.mark.parametrize("folder", PACKAGES)
def test_tests_of_the_bounds_are_files_and_their_extras_those_of_the_environment(folder):
    files = [ROOT / "packages" / folder / "tests" / f"test_{name}.py" for name in bounds.TESTS[folder]]
    assert [file.name for file in files if not file.is_file()] == []
    assert {*ENVIRONMENTS["constraints.txt"][folder]} <= {*bounds.EXTRAS[folder]}


def test_the_packages_agree_on_the_upper_bound_of_a_dependency():
    uppers = {}
    for requirement in (line for folder in PACKAGES for lines in asked(folder).values() for line in lines):
        upper = next(part.version for part in requirement.specifier if part.operator == "<")
        uppers.setdefault(requirement.name, set()).add(upper)
    assert {name: found for name, found in uppers.items() if len(found) > 1} == {}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_pin_names_one_version_and_its_hashes_and_no_index(file):
    assert "://" not in file.read_text("utf-8")
    for requirement, hashes in pins(file):
        assert [part.operator for part in requirement.specifier] == ["=="], str(requirement)
        assert hashes, str(requirement)
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in hashes), str(requirement)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_dependency_of_an_environment_is_pinned_within_its_bounds(name):
    locked = [*pins(ROOT / name), *pins(ROOT / "constraints-torch.txt")]
    for folder, extras in ENVIRONMENTS[name].items():
        for requirement in (line for extra in ["", *extras] for line in asked(folder)[extra]):
            found = [pin for pin, _ in locked if canonicalize_name(pin.name) == canonicalize_name(requirement.name)]
            assert found, f"{name} lacks {requirement.name}; run `make lock`"
            for pin in found:
                assert requirement.specifier.contains(next(iter(pin.specifier)).version), f"{pin}: {requirement}"


def test_the_cpu_builds_of_torch_have_the_version_of_the_others():
    (cpu,) = pins(ROOT / "constraints-torch-cpu.txt")
    (other,) = [pin for pin in pins(ROOT / "constraints-torch.txt") if pin[0].name == "torch"]
    assert cpu[0] == other[0]
    assert not set(cpu[1]) & set(other[1])
