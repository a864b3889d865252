"""Values named and shown within a sentence: short, and the same on every run.

torch and xarray are looked up, never imported: a value of theirs cannot exist without them.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping, Set
from itertools import islice
from numbers import Number
from typing import Any

import numpy as np

__all__ = ["LIMIT", "brief", "introduced", "kind", "scalar", "sizes", "without_addresses"]

LIMIT = 60  # characters of a value that fit in a sentence

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_ARRAYS = (("torch", "Tensor", "a torch tensor"), ("xarray", "DataArray", "an xarray DataArray"))
_CONTAINERS = ((list, "a list"), (tuple, "a tuple"), (Mapping, "a dict"), (Set, "a set"))


def kind(value: Any) -> str:
    """Name the kind of a value, as a sentence needs it.

    Examples
    --------
    >>> kind(2.5), kind(True), kind("a"), kind([1]), kind(len), kind(None)
    ('a number', 'a truth value', 'text', 'a list', 'a function', 'None')
    """
    if value is None or value is ...:
        return "None" if value is None else "..."
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, (Number, str)):
        return "text" if isinstance(value, str) else "a number"
    if array := _array_kind(value):
        return array
    if inspect.isroutine(value):
        return "a function"
    name = type(value).__name__
    article = "an" if name[0] in "aeiouAEIOU" else "a"
    return next((label for base, label in _CONTAINERS if isinstance(value, base)), f"{article} {name}")


def brief(value: Any) -> str:
    """Show a value within a sentence: short, and the same on every run.

    Examples
    --------
    >>> brief(1 / 3), brief({"b", "a"}), brief(np.zeros((2, 3)))
    ('0.333333', "{'a', 'b'}", 'a numpy array of shape (2, 3)')
    """
    value = scalar(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if array := _array_kind(value):
        extent = sizes(value) if hasattr(value, "dims") else f"shape {tuple(value.shape)}"
        return f"{array} of {extent}"
    text = _container(value) or without_addresses(repr(value))
    if "\n" in text:  # a model's repr is a page
        return kind(value)
    return text if len(text) <= LIMIT else f"{text[: LIMIT - 1]}…"


def without_addresses(text: str) -> str:
    """Drop memory addresses, which differ on every run.

    Examples
    --------
    >>> without_addresses("<object object at 0x7f2a>")
    '<object object>'
    """
    return _ADDRESS.sub("", text)


def introduced(value: Any) -> str:
    """Show a value after the name of its kind.

    Examples
    --------
    >>> introduced("ab"), introduced(None)
    ("text ('ab')", 'None')
    """
    name, shown = kind(value), brief(value)
    return shown if shown.startswith(name) else f"{name} ({shown})"


def scalar(value: Any) -> Any:
    """Take the one value out of a NumPy scalar, or of an array or tensor without dimensions.

    Examples
    --------
    >>> scalar(np.float32(0.5)), scalar(np.array(True)), scalar([1])
    (0.5, True, [1])
    """
    single = isinstance(value, np.generic) or (_array_kind(value) and tuple(value.shape) == ())
    return value.item() if single else value


def sizes(array: Any) -> str:
    """Name the dimensions of a DataArray, each with its size.

    Examples
    --------
    >>> import xarray
    >>> sizes(xarray.DataArray(np.zeros((2, 3)), dims=("layer", "head")))
    'layer=2, head=3'
    """
    return ", ".join(f"{name}={size}" for name, size in array.sizes.items())


def _container(value: Any) -> str | None:
    if isinstance(value, Mapping):
        entries = (f"{brief(key)}: {brief(item)}" for key, item in islice(value.items(), LIMIT))
        return f"{{{', '.join(entries)}}}"
    if isinstance(value, Set):
        return f"{{{', '.join(sorted(map(brief, value)))}}}" if value else "set()"
    if isinstance(value, (list, tuple)):
        items = ", ".join(map(brief, value[:LIMIT]))
        comma = "," if len(value) == 1 else ""
        return f"[{items}]" if isinstance(value, list) else f"({items}{comma})"
    return None


def _array_kind(value: Any) -> str | None:
    for module, name, label in _ARRAYS:
        # A half-imported module, or another of that name, has no such class.
        if isinstance(value, getattr(sys.modules.get(module), name, ())):
            return label
    return "a numpy array" if isinstance(value, np.ndarray) else None
