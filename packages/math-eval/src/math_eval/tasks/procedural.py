"""Problems made on demand by the package `reasoning-gym` (extra `reasoning-gym`), the same for the same size and seed.

Offered are the generators whose answer is one exact number, so that the grader decides and `run`, `grade` and
`compare` agree. The others are judged by scorers of that package, which accept neighbouring values, give part of a
point, do not read LaTeX, or hand a model's text to sympy's parser of Python expressions (`countdown`,
`simple_integration` and more); nothing from a model is evaluated here.

    problems, source = read("reasoning-gym:chain_sum?size=50&seed=3&max_terms=4")
    problems[0]["answer"]   # '-4'
"""

import re
from collections.abc import Mapping
from importlib.metadata import version
from urllib.parse import parse_qsl

from math_eval._shared.records import Row, validate
from math_eval.errors import DataError

PREFIX = "reasoning-gym:"
GENERATORS = (
    "aiw",
    "basic_arithmetic",
    "binary_alternation",
    "chain_sum",
    "circuit_logic",
    "count_bits",
    "count_primes",
    "decimal_chain_sum",
    "gcd",
    "gsm_symbolic",
    "largest_island",
    "lcm",
    "leg_counting",
    "letter_counting",
    "maze",
    "products",
    "rectangle_count",
    "rotten_oranges",
    "self_reference",
    "simple_equations",
    "simple_geometry",
)
_SIZE, _SEED = 100, 0


def file_name(name: str) -> str:
    """A task's name that can be part of a file's: `reasoning-gym-gcd-size-50`."""
    return re.sub(r"[^\w.-]+", "-", name)


def read(name: str) -> tuple[list[Row], Row]:
    """Problems of `reasoning-gym:NAME` or `reasoning-gym:NAME?size=100&seed=0&…`, settings of the generator included.

    Raises:
        DataError: no such generator or setting, or the package is not installed.
    """
    generator, _, query = name.removeprefix(PREFIX).partition("?")
    if generator not in GENERATORS:
        raise DataError(
            f"{name}: not offered, as its answer is not one exact number or there is no such generator; choose one of "
            + ", ".join(GENERATORS)
        )
    try:
        import reasoning_gym  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise DataError(f"{error.name} is not installed; run: pip install 'math-eval[reasoning-gym]'") from error
    settings = {"size": _SIZE, "seed": _SEED, **_settings(name, query)}
    try:
        entries = list(reasoning_gym.create_dataset(generator, **settings))
    except (AssertionError, TypeError, ValueError) as error:
        raise DataError(f"{name}: {error}; settings are those of reasoning-gym's {generator}") from error
    source = {"package": "reasoning-gym", "version": version("reasoning-gym"), "generator": generator, **settings}
    return [_problem(generator, index, entry) for index, entry in enumerate(entries)], source


def _settings(name: str, query: str) -> dict[str, int | float]:
    settings: dict[str, int | float] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        try:
            settings[key] = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError as error:
            raise DataError(f"{name}: {key} must be a number; got {value!r}") from error
    return settings


def _problem(generator: str, index: int, entry: Mapping[str, str]) -> Row:
    row = {"id": f"{generator}/{index}", "question": entry["question"].strip(), "answer": entry["answer"]}
    return validate(row, "problems", f"{PREFIX}{generator}, problem {index}")
