"""A misspelt option is an error that lists the known ones."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from nbtools.errors import OptionError

__all__ = ["listed_options", "refuse_unknown"]

P = ParamSpec("P")
R = TypeVar("R")


def refuse_unknown(name: str, given: Iterable[str], *, known: Iterable[str]) -> None:
    """Raise an OptionError if an option is not among the known ones."""
    known = [option for option in known if not option.startswith("_")]
    for option in given:
        if option.startswith("_") or option in known:
            continue
        near = difflib.get_close_matches(option, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        msg = f"{name} has no option {option!r}: expected any of {', '.join(known)}{hint}"
        raise OptionError(msg)


def listed_options(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function answer an unknown keyword with those it knows.

    Examples
    --------
    >>> @listed_options
    ... def view(array, *, cmap="viridis", vmax=1.0):
    ...     return array
    >>> view([1], cmpa="magma")
    Traceback (most recent call last):
    nbtools.errors.OptionError: view has no option 'cmpa': expected any of cmap, vmax; did you mean 'cmap'?
    """
    parameters = inspect.signature(function).parameters.values()
    keywords = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    named = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        refuse_unknown(function.__name__, [name for name in kwargs if name not in named], known=keywords)
        return function(*args, **kwargs)

    return call
