"""How an example runs its commands: one after the other, skipping what is finished.

What the stages are is said by the examples; how a command that was killed goes on is the commands' own business.

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

# Commands that keep an output made with other settings unless told otherwise; the others just write theirs.
_KEEP = {"math-eval run", "cot-compressor compress", "ratio-sft build", "ratio-sft train", "chrpo train"}


def _called(command: Sequence[str]) -> str:
    """The program and its sub-command, also behind `accelerate launch … -m` and `torchrun … -m`."""
    words = command[command.index("-m") + 1 :] if command[0] in {"accelerate", "torchrun"} else command
    return " ".join([words[0].replace("_", "-"), *words[1:2]])


class Stages:
    """Runs commands once each; what is finished is remembered in `stages.json`, with how long it took.

    A stage runs again, and every later one with it, when its command or one of the sources has changed.

    Args:
        run: where `stages.json` is kept.
        sources: the example's scripts that stages run or import.
        ask: ask before the first finished stage is run again, since what it and the later ones wrote will be lost.
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
        """Run one command, unless it is finished; its first word is a program of this environment, or a script.

        Args:
            number: its place among all, for people.
            title: its name in `stages.json`.
            command: the words.
            same_as: another command with the same result, by which it is remembered: that for one GPU, say.

        Raises:
            click.Abort: the answer to the question was no, or nobody was there to ask.
            click.ClickException: the command failed.
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
        """Of all finished stages."""
        return sum(float(stage["seconds"] or 0) for stage in self._done.values())
