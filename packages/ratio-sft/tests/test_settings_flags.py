"""Flags that are made from the fields of a settings class, of every type that a field may have."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import click
import pytest
from click.testing import CliRunner

from ratio_sft._shared.settings_flags import from_flags, settings_flags
from ratio_sft.errors import DataError


def even(text):
    number = int(text)
    if number < 0:
        raise DataError(f"{number} is negative")
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


@dataclass(frozen=True)
class Settings:
    model: Path = field(metadata={"help": "Folder of the model."})
    steps: int = field(default=100, metadata={"help": "Number of steps.", "aliases": ("--rounds", "--iterations")})
    rank: int | None = field(default=None, metadata={"help": "Rank.", "default": "all weights"})
    device: Literal["cpu", "cuda"] = field(default="cpu", metadata={"help": "Device."})
    parts: tuple[str, ...] = field(default=(), metadata={"flag": "--part", "choices": ("a", "b"), "help": "Part."})
    seeds: tuple[int, ...] = field(default=(0,), metadata={"flag": "--seed", "help": "Seed."})
    count: int = field(default=2, metadata={"parse": even, "metavar": "EVEN", "help": "Count."})
    fast: bool = field(default=False, metadata={"help": "Be fast."})
    safe: bool = field(default=True, metadata={"help": "Be safe."})
    internal: int = field(default=7, metadata={"flag": False})


@pytest.fixture
def called():
    """Runs a command with these flags; returns click's result and the settings that it got."""

    def run(*arguments):
        got = []

        @click.command()
        @settings_flags(Settings)
        @click.option("--other")
        def command(other, **options):
            got.append(from_flags(Settings, {"other": other, **options}))

        return CliRunner().invoke(command, list(map(str, arguments))), *got

    return run


def test_defaults_are_those_of_the_class(called):
    assert called("--model", "m")[1] == Settings(Path("m"))


def test_every_type_of_field_is_read(called):
    flags = ["--model", "m", "--steps", 5, "--rank", 4, "--device", "cuda", "--part", "a", "--part", "b", "--seed", 1]
    flags += ["--seed", 2, "--count", 4, "--fast", "--no-safe"]
    expected = Settings(Path("m"), 5, 4, "cuda", ("a", "b"), (1, 2), 4, fast=True, safe=False)
    assert called(*flags)[1] == expected


@pytest.mark.parametrize("alias", ["--rounds", "--iterations"])
def test_an_alias_works_and_is_not_shown(called, alias):
    assert called("--model", "m", alias, 3)[1].steps == 3
    assert alias not in called("--help")[0].stdout


def test_help_describes_flags_and_defaults(called):
    shown = called("--help")[0].stdout
    for line in (
        "--model PATH         Folder of the model.  [required]",
        "--steps INTEGER      Number of steps.  [default: 100]",
        "--rank INTEGER       Rank.  [default: all weights]",
        "--count EVEN         Count.  [default: 2]",
    ):
        assert line in shown
    assert "--internal" not in shown


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ([], "Missing option '--model'"),
        (["--model", "m", "--steps", "x"], "Invalid value for '--steps': 'x' is not a valid integer"),
        (["--model", "m", "--rounds", "x"], "Invalid value for '--steps': 'x' is not a valid integer"),
        (["--model", "m", "--part", "c"], "'c' is not one of 'a', 'b'"),
        (["--model", "m", "--count", "3"], "Invalid value for '--count': 3 is odd"),
    ],
)
def test_what_a_flag_does_not_accept_is_a_usage_error(called, flags, error):
    (result,) = called(*flags)
    assert (result.exit_code, error in result.stderr) == (2, True), result.stderr


def test_an_error_of_the_package_keeps_its_type(called):
    (result,) = called("--model", "m", "--count", "-2")
    assert isinstance(result.exception, DataError)
