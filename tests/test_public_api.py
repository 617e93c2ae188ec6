"""The public names and their signatures are those on record, few, and light to import."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import PACKAGES

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("public_api", HERE.parent / "tools/public_api.py")
public_api = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(public_api)

HEAVY = ("torch", "transformers", "trl", "datasets", "sympy", "accelerate", "onnxruntime")


@pytest.mark.parametrize("module", public_api.MODULES)
def test_public_names_are_as_recorded(module):
    recorded = (HERE / "public_api.txt").read_text().splitlines()
    kept = [line for line in recorded if line.partition("(")[0].rpartition(".")[0] in owners(module)]
    found = list(public_api.signatures(module))
    assert found == kept, "record a deliberate change: python tools/public_api.py > tests/public_api.txt"


def owners(module):
    """The module itself and its classes, whose methods are on record too."""
    return {module, *(f"{module}.{name}" for name in public_api.public_names(module))} - {
        other for other in public_api.MODULES if other != module
    }


@pytest.mark.parametrize("module", public_api.MODULES)
def test_a_module_offers_at_most_a_dozen_names(module):
    assert 1 <= len(public_api.public_names(module)) <= 13


@pytest.mark.parametrize("module", [*PACKAGES.values(), "chrpo.core"])
def test_importing_a_package_loads_no_heavy_library(module):
    code = f"import sys, {module}; print(*sorted(sys.modules.keys() & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
