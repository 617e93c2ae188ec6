"""What keeps the source easy to enter: short functions, few positional parameters, no import cycle, no vague names."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "packages").glob("*/src/*"))
MODULES = [path for source in SOURCES for path in sorted(source.rglob("*.py")) if "_shared" not in path.parts]
MODULES += sorted((ROOT / "packages/_shared").glob("*.py"))
MOST_LINES, MOST_POSITIONAL = 60, 6
# Signatures of other libraries, which ours must equal; click passes a command its parameters by name.
FOREIGN = {"compress_prompt", "_generate_single_turn"}


def functions(path):
    tree = ast.parse(path.read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "packages")))
def test_functions_are_short_and_take_few_positional_parameters(path):
    for node in functions(path):
        lines = node.end_lineno - node.lineno + 1
        assert lines <= MOST_LINES, f"{node.name}: {lines} lines"
        positional = [*node.args.posonlyargs, *node.args.args]
        names = [argument.arg for argument in positional if argument.arg not in {"self", "cls"}]
        by_name = node.name in FOREIGN or any(".command(" in ast.unparse(call) for call in node.decorator_list)
        assert by_name or len(names) <= MOST_POSITIONAL, f"{node.name}: {len(names)} positional parameters"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "packages")))
def test_a_module_says_what_it_does_and_is_named_for_it(path):
    assert path.stem not in {"util", "utils", "common", "helper", "helpers", "manager", "misc"}
    assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), "no docstring"
    assert len(path.read_text("utf-8").splitlines()) <= 400


def imports(path, source):
    """The modules of its own package that a module imports anywhere, also inside functions, but not for types only."""
    package = path.relative_to(source.parent).with_suffix("").parts
    here = package[:-1]
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node in typing_only:
            continue
        base = list(here[: len(here) - node.level + 1]) if node.level else []
        base += node.module.split(".") if node.module else []
        if base[:1] != [source.name]:
            continue
        for alias in node.names:
            target = source.parent.joinpath(*base, alias.name)
            found = target.with_suffix(".py") if target.with_suffix(".py").is_file() else target / "__init__.py"
            if not found.is_file():
                module = source.parent.joinpath(*base)
                found = module.with_suffix(".py") if module.with_suffix(".py").is_file() else module / "__init__.py"
            if found.is_file() and found != path:
                yield found


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_no_module_imports_itself_through_others(source):
    # What a package's own __init__ offers is loaded on first use, from modules that never ask for it.
    graph = {path: set(imports(path, source)) for path in source.rglob("*.py") if path != source / "__init__.py"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(str(path.relative_to(source)) for path in error.args[1]))


# Hooks of TRL and verl, which our trainers override and the libraries call.
HOOKS = {
    "_add_batch_to_generate",
    "_calculate_rewards",
    "_compute_advantage",
    "_compute_loss",
    "_generate_and_score_completions",
    "_init_dataloader",
    "_load_checkpoint",
    "_save_checkpoint",
    "_tokenize_prompts",
}


def private_names():
    """Private methods and attributes of the packages' classes."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("_") and not node.name.startswith("__"):
                yield node.name
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                yield node.attr


def test_no_test_or_benchmark_reads_a_private_attribute_of_the_packages():
    private = {name for name in private_names() if re.match("_[a-z]", name)} - HOOKS - {"_replace"}
    found = []
    for path in [
        *ROOT.glob("packages/*/tests/*.py"),
        *ROOT.glob("tests/*.py"),
        *ROOT.glob("benchmarks/*.py"),
        *ROOT.glob("examples/**/*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in private:
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                if owner not in {"self", "cls", "os"} and not ast.unparse(node.value).startswith("super()"):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert not found, "\n".join(found)
