"""Every example in a docstring and in the README runs and gives what it says."""

from __future__ import annotations

import doctest
import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest

import nbtools

README = Path(nbtools.__file__).parents[1] / "README.md"
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
MODULES = sorted(info.name for info in pkgutil.walk_packages(nbtools.__path__, "nbtools."))
WITH_EXAMPLES = [name for name in MODULES if ">>>" in Path(importlib.util.find_spec(name).origin).read_text("utf-8")]


@pytest.fixture
def load(model, monkeypatch):
    """Give `load` as examples call it, without reading the weights again for each of them."""

    def load_once(*args: object, **kwargs: object):
        assert not args and not kwargs, "an example loads another model"
        return model

    monkeypatch.setattr("nbtools.models.load", load_once)
    return load_once


def examples(module_name: str) -> list[doctest.DocTest]:
    module = importlib.import_module(module_name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(module, extraglobs={}) if test.examples]


@pytest.mark.model
@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_give_what_they_say(name, load):
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    for test in examples(name):
        test.globs |= {"load": load}
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)
    assert runner.tries


@pytest.mark.model
def test_the_examples_of_the_readme_run(load):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_every_public_function_of_the_package_shows_an_example():
    for room in ("models", "tasks", "runs", "measures", "patching", "training", "views", "explorers", "lessons"):
        module = importlib.import_module(f"nbtools.{room}")
        functions = [getattr(module, name) for name in module.__all__ if callable(getattr(module, name))]
        lacking = [
            function.__name__
            for function in functions
            if not isinstance(function, type) and ">>>" not in (function.__doc__ or "")
        ]
        assert not lacking, f"{room}: {', '.join(lacking)}"
