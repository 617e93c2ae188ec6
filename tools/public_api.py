"""Lists the public names of the four packages with their signatures, as they are recorded in tests/public_api.txt.

Public is what `__all__` of these modules names; everything else may move. A test compares the list with the record, so
that a change is deliberate.

    python tools/public_api.py > tests/public_api.txt
"""

import dataclasses
import importlib
import inspect
from collections.abc import Iterator

MODULES = ("cot_compressor", "ratio_sft", "chrpo", "chrpo.core", "chrpo.trl", "math_eval")
"""chrpo.verl has an environment of its own, which has none of the other modules."""


def public_names(module: str) -> list[str]:
    """The names that a module offers, sorted."""
    return sorted(name for name in importlib.import_module(module).__all__ if name != "__version__")


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
    """Parameter names and defaults; types are left out, and what a class inherits from another library."""
    try:
        parameters = list(inspect.signature(value).parameters.values())  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"
    if inspect.isclass(value) and dataclasses.is_dataclass(value):
        package = value.__module__.partition(".")[0]
        bases = [base for base in value.__mro__ if base.__module__.partition(".")[0] == package]
        own = {name for base in bases for name in inspect.get_annotations(base)}
        parameters = [parameter for parameter in parameters if parameter.name in own]
    return str(inspect.Signature([_bare(parameter) for parameter in parameters]))


def _bare(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter without its type, and with the name of a function instead of its address as default."""
    default = parameter.default
    if hasattr(default, "__qualname__") and default is not parameter.empty:
        default = _Name(default.__qualname__)
    return parameter.replace(annotation=parameter.empty, default=default)


class _Name(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


if __name__ == "__main__":
    for public in MODULES:
        print("\n".join(signatures(public)))
