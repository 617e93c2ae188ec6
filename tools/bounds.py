"""Runs light tests of each package with the lowest and the newest versions that its bounds allow: `make test-bounds`.

Each run has an environment of its own, removed afterwards. The bounds are in the pyproject.toml of each package; which
versions belong together is for uv to say. verl, vLLM and reasoning-gym are tested by make test-verl, ….
On Linux, torch and its CUDA libraries take several GB; UV_TORCH_BACKEND=cpu asks uv for the CPU build.

    python tools/bounds.py                       # all four
    python tools/bounds.py math-eval             # one
"""

import re
import sys
import tempfile
from pathlib import Path

from dist import PACKAGES, ROOT, project, run

EXTRAS = {
    "chrpo": ["lora", "parquet", "trl"],
    "cot-compressor": ["llm", "onnx", "parquet", "ray", "scorer", "train"],
    "math-eval": ["champ", "hub", "openai", "parquet", "ray", "transformers"],
    "ratio-sft": ["lora", "parquet", "ray", "train"],
}
"""Extras of each package that one environment can hold."""

TESTS = {
    "chrpo": ["imports", "objective", "rollout", "score", "settings", "step"],
    "cot-compressor": ["compressor", "export", "fidelity", "ray", "select", "traces"],
    "math-eval": ["compare", "equality", "export", "grade_shards", "grader", "hub"],
    "ratio-sft": [
        "build",
        "collator",
        "encoding",
        "evaluate",
        "lora",
        "settings",
        "shard_mixing",
        "template",
        "tokens",
    ],
}
"""Names of the test files that use most of the dependencies and take few minutes."""


def direct(folder: str) -> list[str]:
    """Names of the distributions that a package asks for itself, without those of other environments."""
    table = project(folder)
    optional = table["optional-dependencies"]
    asked = [*table["dependencies"], *(line for extra in EXTRAS[folder] for line in optional[extra])]
    return sorted({re.split(r"[^\w.-]", line)[0] for line in asked} - {table["name"]})


def test(folder: str, resolution: str) -> str:
    """Install a package with the versions of a resolution and run its light tests.

    Returns:
        The last line of pytest, and the versions that were tested.

    Raises:
        RuntimeError: uv found no such versions, or a test failed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        python = Path(temporary) / "bin" / "python"
        uv = [sys.executable, "-m", "uv"]
        install = [*uv, "pip", "install", "--python", python, "--no-config"]
        run(*uv, "venv", "--python", sys.executable, "--clear", temporary)
        package = f"{ROOT / 'packages' / folder}[{','.join(EXTRAS[folder])}]"
        run(*install, "--resolution", resolution, "--editable", package)
        run(*install, "--group", f"{ROOT / 'pyproject.toml'}:test")
        files = [ROOT / "packages" / folder / "tests" / f"test_{name}.py" for name in TESTS[folder]]
        last = run(python, "-m", "pytest", "-p", "no:cacheprovider", "-q", *files, cwd=ROOT).splitlines()[-1]
        frozen = run(*uv, "pip", "freeze", "--python", python).splitlines()
    return "\n  ".join([last, *(line for line in frozen if line.partition("==")[0] in direct(folder))])


def main(folders: list[str]) -> None:
    """Test the named packages, or all of them, at both ends of their bounds.

    Raises:
        RuntimeError: A package failed; the others were tested all the same.
    """
    failed = []
    for folder in folders or PACKAGES:
        for resolution in ("lowest-direct", "highest"):
            try:
                print(f"{folder}, {resolution}: {test(folder, resolution)}", flush=True)
            except RuntimeError as error:
                failed.append(f"{folder}, {resolution}: {error}")
    if failed:
        raise RuntimeError("\n\n".join(failed))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
