"""Loads a script of `examples/` as a module, with its folder importable as it is when the script is run."""

import importlib
import importlib.util
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load_script(name: str | Path) -> ModuleType:
    """The script of this name, such as "quickstart/quickstart.py"."""
    path = EXAMPLES / name
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        patch.delitem(sys.modules, "stages", raising=False)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@contextmanager
def scripts_of(name: str, modules: Iterable[str]) -> Iterator[None]:
    """Let the scripts of a folder be imported under their own names, and forget these modules afterwards."""
    names = tuple(modules)
    kept = {each: sys.modules.pop(each) for each in names if each in sys.modules}
    path = list(sys.path)
    sys.path.insert(0, str(EXAMPLES / name))
    try:
        yield
    finally:
        sys.path[:] = path
        for each in names:
            sys.modules.pop(each, None)
        sys.modules.update(kept)


def check_stages(stages: Iterable[tuple[str, str]]) -> None:
    """Every stage (title, command) is a script or a command of a package that takes its arguments."""
    made = list(stages)
    assert len({title for title, _ in made}) == len(made), "a stage is remembered by its title"
    for _, line in made:
        program, *words = shlex.split(line)
        if program.endswith(".py"):
            assert Path(program).is_file()
            continue
        if program in {"accelerate", "torchrun"}:
            package, words = words[words.index("-m") + 1], words[words.index("-m") + 2 :]
        else:
            package = program.replace("-", "_")
        command = importlib.import_module(f"{package}.cli").cli
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context(program, words)
