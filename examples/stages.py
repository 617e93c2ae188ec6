"""Runs the commands of an example one after the other and skips finished ones.

Each example defines its stages. The commands themselves continue after an interruption.

    stages = Stages(Path("runs/mine"), [Path("examples/quickstart/problems.py")])
    stages.run("1/9", "Build", ["ratio-sft", "build", "in", "out"])
"""

import hashlib
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

# Commands that refuse to replace an output made with other settings unless --overwrite is given.
_KEEP = {
    "math-eval run",
    "cot-compressor annotate",
    "cot-compressor train",
    "cot-compressor compress",
    "ratio-sft build",
    "ratio-sft train",
    "chrpo prepare",
    "chrpo train",
}


def _called(command: Sequence[str]) -> str:
    """The program and its sub-command, also of `accelerate launch … -m` and `torchrun … -m`."""
    words = command[command.index("-m") + 1 :] if command[0] in {"accelerate", "torchrun"} else command
    return " ".join([words[0].replace("_", "-"), *words[1:2]])


class Stages:
    """Runs each command once; `stages.json` records finished stages and their seconds.

    If the command of a stage or one of the sources has changed, this stage and all later ones run again.

    Args:
        run: Folder of `stages.json`.
        sources: Scripts of the example that stages run or import.
        ask: Whether to ask before the first finished stage runs again, because its output and all later ones are lost.
    """

    def __init__(self, run: Path, sources: Iterable[Path], *, ask: bool = False) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self._ask = ask
        self._path = run / "stages.json"
        self._done: dict[str, dict[str, float | str | None]] = (
            json.loads(self._path.read_text("utf-8")) if self._path.exists() else {}
        )
        self._chain = hashlib.sha256()
        for source in sources:
            self._chain.update(source.read_bytes())

    def run(self, number: str, title: str, command: Sequence[str], same_as: Sequence[str] | None = None) -> None:
        """Run one command, unless it is finished.

        Args:
            number: Position among all stages, shown to the user.
            title: Name of the stage in `stages.json`.
            command: Words of the command; the first is a program of this environment, or a script.
            same_as: Words of another command with the same result that identifies the stage, such as the command for
                one GPU.

        Raises:
            click.Abort: The user answered no, or nobody could answer.
            click.ClickException: The command failed.
        """
        self._chain.update(shlex.join(same_as or command).encode())
        key = self._chain.hexdigest()
        known = self._done.get(title)
        if known and known["key"] == key and known["seconds"] is not None:
            click.echo(f"[{number}] {title}: done before")
            return
        stale = known is not None and known["key"] != key
        if stale and self._ask and any(stage["seconds"] is not None for stage in self._done.values()):
            click.echo(f"{title!r} was run by another command or script. It and all later stages will be run again.")
            click.confirm("What they wrote will be lost. Go on?", abort=True)
            self._ask = False
        click.secho(f"[{number}] {title}", bold=True)
        click.echo(f"$ {shlex.join(command)}")
        self._save(title, key, None)
        start = time.monotonic()
        script = command[0].endswith(".py")
        program = [sys.executable] if script else []
        first = command[0] if script else str(Path(sys.executable).parent / command[0])
        replace = ["--overwrite"] if stale and _called(command) in _KEEP else []
        result = subprocess.run([*program, first, *command[1:], *replace], check=False)
        if result.returncode:
            raise click.ClickException(f"stage {title!r} failed with exit code {result.returncode}")
        self._save(title, key, time.monotonic() - start)

    def _save(self, title: str, key: str, seconds: float | None) -> None:
        self._done[title] = {"key": key, "seconds": seconds}
        partial = self._path.with_suffix(".tmp")
        partial.write_text(json.dumps(self._done, indent=1), encoding="utf-8")
        partial.replace(self._path)

    @property
    def seconds(self) -> float:
        """Total seconds of all finished stages."""
        return sum(float(stage["seconds"] or 0) for stage in self._done.values())
