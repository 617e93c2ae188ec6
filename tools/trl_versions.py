"""Runs chrpo and ratio-sft with the oldest, a middle and the newest supported TRL: `make test-trl`.

Each TRL comes with a transformers of its time, in an environment of its own that is removed afterwards; everything that
has the same version there is read from .venv. Each environment trains the same two tiny models and writes losses,
prices and gradients, which must be equal to one part in 100 000, and runs the tests of both trainers.
The bounds of other dependencies are left to `bounds`.

    python tools/trl_versions.py                 # all three
    python tools/trl_versions.py 0.29.1          # one, without a comparison
"""

import json
import math
import os
import re
import sys
import sysconfig
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dist import ROOT, run

VERSIONS = {"0.29.1": "5.10.1", "1.8.0": "5.16.1", "1.16.0": "5.24.0"}
"""TRL and the transformers that it is tested with; the oldest transformers is the oldest that SECURITY.md permits."""

TESTS = {
    "chrpo": ["trl", "trl_options", "resume", "decoding", "passes", "reward"],
    "ratio-sft": ["train", "lora", "collator"],
}
"""Names of the test files that depend on TRL."""

_RELATIVE, _ABSOLUTE = 1e-5, 1e-6


def environment(folder: Path, trl: str, transformers: str) -> Path:
    """Make an environment with a TRL and a transformers, and return its Python; the rest is that of .venv.

    Raises:
        RuntimeError: uv found no such versions.
    """
    uv = [sys.executable, "-m", "uv"]
    asked = folder / "asked.txt"
    asked.write_text(
        f"trl=={trl}\ntransformers=={transformers}\ntorch=={version('torch').partition('+')[0]}\n", "utf-8"
    )
    run(*uv, "venv", "--python", sys.executable, "--clear", folder / "environment")
    python = folder / "environment" / "bin" / "python"
    resolved = run(
        *uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-emit-package", "torch", asked
    )
    other = [line for line in resolved.split() if not re.match("cuda|nvidia|triton", line) and not _is_here(line)]
    run(*uv, "pip", "install", "--no-deps", "--python", python, *other)
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    shared = [ROOT / "packages" / name / "src" for name in TESTS] + [Path(sysconfig.get_path("purelib"))]
    (own / "shared.pth").write_text("".join(f"{path}\n" for path in shared), "utf-8")
    return python


def _is_here(requirement: str) -> bool:
    """Whether .venv has the version of a requirement `name==version`."""
    name, _, wanted = requirement.partition("==")
    try:
        return version(name).partition("+")[0] == wanted
    except PackageNotFoundError:
        return False


def test(trl: str, checkpoints: Path) -> dict[str, Any]:
    """Train the two tiny models, run the tests, and return the figures of the training.

    Args:
        trl: Version of TRL.
        checkpoints: Folder with the checkpoints that `golden_run.py` of each package made.

    Raises:
        RuntimeError: something failed.
    """
    figures = {}
    with tempfile.TemporaryDirectory() as temporary:
        python = environment(Path(temporary), trl, VERSIONS[trl])
        for name, files in TESTS.items():
            tests, out = ROOT / "packages" / name / "tests", Path(temporary) / f"{name}.json"
            run(python, tests / "golden_run.py", "run", checkpoints / name, out)
            figures[name] = json.loads(out.read_text("utf-8"))
            last = run(
                *(python, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-n0"),
                *(tests / f"test_{each}.py" for each in files),
                cwd=ROOT,
            ).splitlines()[-1]
            print(f"TRL {trl}, transformers {VERSIONS[trl]}, {name}: {last}", flush=True)
    return figures


def differences(figures: dict[str, Any], expected: dict[str, Any], where: str = "") -> list[str]:
    """The figures that differ by more than one part in 100 000; entries of steps are compared by their place."""
    found: list[str] = []
    for name in sorted(figures.keys() | expected.keys()):
        left, right = figures.get(name), expected.get(name)
        if isinstance(left, dict) and isinstance(right, dict):
            found += differences(left, right, f"{where}{name} ")
        elif left is None or right is None or not math.isclose(left, right, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE):
            found.append(f"{where}{name}: {left} and {right}")
    return found


def main(names: list[str]) -> None:
    """Test the named versions of TRL, or all, and compare each with the first.

    Raises:
        RuntimeError: a version failed, or its figures are others.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # the order of a sum depends on the number of threads
    with tempfile.TemporaryDirectory() as temporary:
        for name in TESTS:
            run(sys.executable, ROOT / "packages" / name / "tests" / "golden_run.py", "make", Path(temporary) / name)
        found = {trl: test(trl, Path(temporary)) for trl in names or VERSIONS}
    first, *others = found
    print(json.dumps(found[first], indent=1))
    unequal = {trl: differences(found[trl], found[first]) for trl in others}
    if any(unequal.values()):
        raise RuntimeError(f"figures differ from those of TRL {first}: {json.dumps(unequal, indent=1)}")
    print(f"equal figures with TRL {', '.join(found)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
