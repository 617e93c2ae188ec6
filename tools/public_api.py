"""Lists the public names of the four packages with their signatures, as they are recorded in tests/public_api.txt.

Public is what `__all__` of these modules names; everything else may move. A test compares the list with the record, so
that a change is deliberate.

    python tools/public_api.py > tests/public_api.txt
"""

import importlib
import inspect
from collections.abc import Iterator

MODULES = ("cot_compressor", "ratio_sft", "chrpo", "chrpo.core", "chrpo.trl", "math_eval")
"""chrpo.verl has an environment of its own, which has none of the other modules."""


def public_names(module: str) -> list[str]:
    """The names that a module offers, sorted."""
    return sorted(importlib.import_module(module).__all__)


def signatures(module: str) -> Iterator[str]:
    """One line for each public name of a module, and for each public method of a class."""
    for name in public_names(module):
        value = getattr(importlib.import_module(module), name)
        if inspect.isclass(value):
            yield f"{module}.{name}{_signature(value)}"
            for method, member in sorted(vars(value).items()):
                if not method.startswith("_") and callable(getattr(value, method)):
                    yield f"{module}.{name}.{method}{_signature(getattr(value, method))}"
                elif not method.startswith("_") and isinstance(member, property):
                    yield f"{module}.{name}.{method}"
        else:
            yield f"{module}.{name}{_signature(value) if callable(value) else ''}"


def _signature(value: object) -> str:
    """Parameter names and defaults; types are left out, which change with every library."""
    try:
        parameters = inspect.signature(value).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(bare))


if __name__ == "__main__":
    for public in MODULES:
        print("\n".join(signatures(public)))
