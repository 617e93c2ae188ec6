"""Every `>>>` example in the source of the packages prints what it shows."""

import doctest
import importlib
import pkgutil

import pytest

from .conftest import PACKAGES


def modules(name):
    package = importlib.import_module(name)
    yield name
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if not module.name.endswith("__main__"):
            yield module.name


@pytest.mark.parametrize("name", [module for package in PACKAGES.values() for module in modules(package)])
def test_the_examples_of_a_module_run(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} has an environment of its own")
    failed, _ = doctest.testmod(module)
    assert not failed
