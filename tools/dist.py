"""Builds the four distributions, checks them, installs each wheel alone, and lists what it needs: `make dist`.

The build tools are those of this environment. The wheel is built from the sdist, so the sdist is complete. Both are
written to dist/<folder of the package>, and a software bill of materials (CycloneDX) of the wheel and all that it needs
without extras to dist/<name>-<version>.cdx.json.

    python tools/dist.py                       # all four
    python tools/dist.py cot-compressor        # one
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = {"cot-compressor": "cot_compressor", "ratio-sft": "ratio_sft", "chrpo": "chrpo", "math-eval": "math_eval"}
"""The folder of each package, which is also its command, and the name that it is imported by."""


@dataclass(frozen=True)
class Built:
    """The two files of a distribution."""

    sdist: Path
    wheel: Path


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command and return its standard output.

    Raises:
        RuntimeError: The command failed; the message contains its output.
    """
    words = [str(word) for word in command]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=cwd)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def project(folder: str) -> dict[str, Any]:
    """The `[project]` table of a package."""
    return tomllib.loads((ROOT / "packages" / folder / "pyproject.toml").read_text("utf-8"))["project"]


def build(folder: str, out: Path) -> Built:
    """Build the sdist, and the wheel from the sdist."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT / "packages" / folder)
    name = f"{project(folder)['name'].replace('-', '_')}-{project(folder)['version']}"
    return Built(out / f"{name}.tar.gz", out / f"{name}-py3-none-any.whl")


def check(folder: str, built: Built) -> None:
    """Check metadata, README rendering, licence, and that the wheel contains exactly the source files.

    Raises:
        RuntimeError: A check failed.
    """
    run(sys.executable, "-m", "twine", "check", "--strict", built.sdist, built.wheel)
    source = ROOT / "packages" / folder / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
    }
    names = zipfile.ZipFile(built.wheel).namelist()
    if differing := {name for name in names if ".dist-info/" not in name} ^ wanted:
        raise RuntimeError(f"{built.wheel}: differs from the source in {sorted(differing)}")
    with tarfile.open(built.sdist) as archive:
        for place, files in ((built.wheel, names), (built.sdist, archive.getnames())):
            if not any(re.search(r"(^|/)LICENSE$", name) for name in files):
                raise RuntimeError(f"{place}: contains no LICENSE")


def create(environment: Path) -> Path:
    """Create an empty environment; returns the folder of its programs."""
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    return environment / ("Scripts" if os.name == "nt" else "bin")


def install(built: Built, environment: Path) -> Path:
    """Install the wheel alone, at the pinned versions, into a new environment; returns the folder of its programs."""
    programs = create(environment)
    pins = environment / "pins.txt"
    locked = "".join((ROOT / f"constraints{name}.txt").read_text("utf-8") for name in ("", "-torch"))
    # Without hashes, because the wheel has none yet, and because any build of this version of torch will do.
    pins.write_text("\n".join(line.removesuffix(" \\") for line in locked.splitlines() if "==" in line), "utf-8")
    pip = [sys.executable, "-m", "pip", "--python", programs / "python"]
    run(*pip, "install", "--quiet", "--no-compile", "--constraint", pins, built.wheel)
    return programs


def install_materials(environment: Path) -> Path:
    """Install what lists materials into a new environment; returns its interpreter."""
    python = create(environment) / "python"
    pins = ["--require-hashes", "--requirement", ROOT / "constraints-materials.txt"]
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", "--no-deps", *pins)
    return python


def list_materials(folder: str, built: Built, programs: Path, out: Path, materials: Path) -> Path:
    """Write the bill of materials of an environment that contains a wheel and what it needs.

    Args:
        folder: Folder of the package.
        built: Its distribution.
        programs: Folder of the programs of the environment.
        out: Folder to write to.
        materials: Interpreter that `install_materials` returned.

    Returns:
        The file: name, version, package URL and licence of each component, what needs what, and the hash of the wheel.

    Raises:
        RuntimeError: A component states no licence.
    """
    name, version = project(folder)["name"], project(folder)["version"]
    metadata = ["--pyproject", ROOT / "packages" / folder / "pyproject.toml", "--mc-type", "library"]
    command = [materials, "-m", "cyclonedx_py", "environment", *metadata, "--output-reproducible"]
    bill = json.loads(run(*command, programs / "python"))
    (packages,) = programs.parent.glob("lib/python*/site-packages")
    for component in bill["components"]:
        if "licenses" not in component:
            # A free text such as "BSD", which cyclonedx_py leaves out.
            (distribution,) = distributions(name=component["name"], path=[str(packages)])
            if not (text := distribution.metadata["License"]):
                raise RuntimeError(f"{component['name']} states no licence; find out whether {name} may need it")
            component["licenses"] = [{"license": {"name": text, "acknowledgement": "declared"}}]
    digest = hashlib.sha256(built.wheel.read_bytes()).hexdigest()
    bill["metadata"]["component"] |= {
        "purl": f"pkg:pypi/{name}@{version}",
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    file = out / f"{name}-{version}.cdx.json"
    file.write_text(json.dumps(bill, indent=2, sort_keys=True) + "\n", "utf-8")
    return file


def main(folders: list[str]) -> None:
    """Build, check and try the named packages, or all of them."""
    with tempfile.TemporaryDirectory() as temporary:
        materials = install_materials(Path(temporary) / "materials")
        for folder in folders or PACKAGES:
            built = build(folder, ROOT / "dist" / folder)
            check(folder, built)
            programs = install(built, Path(temporary) / folder)
            run(programs / "python", "-I", "-c", f"import {PACKAGES[folder]}", cwd=Path(temporary))
            run(programs / folder, "--help", cwd=Path(temporary))
            list_materials(folder, built, programs, ROOT / "dist", materials)
            print(f"{folder}: {built.sdist.name} and {built.wheel.name} are complete and work alone", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
