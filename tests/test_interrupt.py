"""Ctrl-C at any moment ends every command in one line with exit code 130; a second one ends it at once."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from math_eval._shared.cli_group import CommandGroup

ROOT = Path(__file__).parents[1]
PROGRAMS = ("chrpo", "cot-compressor", "math-eval", "ratio-sft")
LINE = "interrupted; repeat the command to continue\n"
# Presses Ctrl-C when a module is imported.
WHILE_IMPORTING = """
import builtins, os, signal, sys
real = builtins.__import__
def importing(name, *rest):
    if name == "click":
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest)
builtins.__import__ = importing
signal.signal(signal.SIGINT, signal.{before})
from {module} import main
main()
"""
WHILE_CLEANING_UP = """
import os, signal, click
from math_eval._shared.cli_group import CommandGroup
@click.group(cls=CommandGroup)
def cli(): ...
@cli.command()
def work():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
cli(["work"])
"""


def python(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_interrupt_while_the_package_is_imported_is_one_line(program):
    scripts = tomllib.loads((ROOT / f"packages/{program}/pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    module, _, function = scripts[program].partition(":")
    assert function == "main"
    done = python(WHILE_IMPORTING.format(module=module, before="default_int_handler"), "--version")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", LINE)


def test_a_program_that_ignores_interrupts_keeps_ignoring_them():
    done = python(WHILE_IMPORTING.format(module="chrpo_program", before="SIG_IGN"), "--version")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_that_a_library_turns_into_another_error_is_still_one():
    @click.group(cls=CommandGroup)
    def cli(): ...

    @cli.command()
    def work():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("a module that cannot be imported any more") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = CliRunner().invoke(cli, ["work"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.exit_code, done.stderr) == (130, LINE)


def test_a_second_interrupt_ends_a_command_that_still_cleans_up():
    done = python(WHILE_CLEANING_UP)
    assert (done.returncode, done.stderr) == (130, LINE)
