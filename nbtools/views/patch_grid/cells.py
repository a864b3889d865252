"""What a patching sweep gave: read from its array, found by label, and packed as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nbtools.errors import ArrayError
from nbtools.naming import head_label, visible
from nbtools.views.colour import as_floats, check_size, check_tokens

__all__ = ["KINDS", "Cells", "read_cells"]

KINDS = {"position": "positions", "head": "heads", "neuron": "neurons", "query": "queries", "key": "keys"}
"""What a column may be, and what several are called."""

_IN_ORDER = ("position", "query", "key")  # what lies in the order of the prompt
_MOST_NEURONS = 512


@dataclass(frozen=True, eq=False)
class Cells:
    """The effects of a sweep, layers ascending.

    Attributes
    ----------
    layers
        The layer of each row.
    kind
        The dimension of the columns, one of `KINDS`.
    columns
        The coordinate of each column: numbers, or names such as ``"END"``. Numbered positions ascend.
    tokens, sources
        The text of each column's token in the run that is patched into, and in the run patched from; empty lists if
        that is not known.
    effect, estimate
        ``[layer, column]``, NaN where nothing is known; there may be no estimate.
    facts
        What else the array says: ``site``, ``metric``, its value ``base`` and ``source`` in the two runs, a ``note``
        on what 0 and 1 are, and whether the sweep is ``complete``.
    """

    layers: list[int]
    kind: str
    columns: list[int] | list[str]
    tokens: list[str]
    sources: list[str]
    effect: np.ndarray
    estimate: np.ndarray | None
    facts: dict[str, Any]

    @property
    def named(self) -> bool:
        """Whether columns have names, not numbers."""
        return isinstance(self.columns[0], str)

    @property
    def causal(self) -> bool:
        """Whether columns are positions whose order is known, of which the later ones see the earlier ones."""
        return self.kind in _IN_ORDER and not self.named

    @property
    def heads(self) -> bool:
        """Whether columns are heads that have a number."""
        return self.kind == "head" and not self.named

    @property
    def pins(self) -> list[int]:
        """What stands for each column when it is pinned: its number, or if it has a name its place."""
        return list(range(len(self.columns))) if self.named else self.columns

    def place(self, column: int | None) -> int | None:
        """Give the place of a pinned column; None if none is pinned, or that one is not here."""
        return self.pins.index(column) if column in self.pins else None

    def row(self, layer: int | None) -> int | None:
        """Give the row of a layer; None if it is not here."""
        return self.layers.index(layer) if layer in self.layers else None

    def held(self, layer: int | None, column: int | None) -> dict[str, Any]:
        """Give what links hold of a pin, by trait: a head as a whole, else the layer, and the column if a position."""
        head = head_label(layer, column) if self.heads and None not in (layer, column) else None
        return {"_layer": None if self.heads else layer, "_position": column if self.causal else None, "_head": head}

    @property
    def texts(self) -> list[str]:
        """What is written below each column beside its number: its token, or its name; nothing if it has neither."""
        return self.columns if self.named else self.tokens

    @cached_property
    def others(self) -> list[str]:
        """The token of each column in the run patched from where it is another one, else nothing."""
        return ["" if other == token else other for token, other in zip(self.tokens, self.sources, strict=False)]

    @property
    def names(self) -> list[str]:
        """What each column is called in a sentence, such as ``9 “·John” ← “·Mary”`` or ``neuron 300``."""
        prefix = "" if self.named or self.heads or (self.tokens and self.kind == "position") else f"{self.kind} "
        tokens = [f" “{visible(token)}”" for token in self.tokens] or [""] * len(self.columns)
        others = [f" ← “{visible(other)}”" if other else "" for other in self.others] or [""] * len(self.columns)
        return [f"{prefix}{name}{here}{there}" for name, here, there in zip(self.columns, tokens, others, strict=True)]

    def frame(self) -> dict[str, Any]:
        """Pack what the page draws."""
        return {
            "layers": self.layers,
            "kind": self.kind,
            "many": KINDS[self.kind],
            "pins": self.pins,
            "names": self.names,
            "numbers": [] if self.named else self.columns,
            "texts": self.texts,
            "others": self.others,
            "causal": self.causal,
            "heads": self.heads,
            "effect": self.effect.tobytes(),
            "estimate": b"" if self.estimate is None else self.estimate.tobytes(),
            **self.facts,
        }


def read_cells(effect: Any, estimate: Any = None) -> Cells:
    """Read the effects of a sweep, and an estimate of them that has the same labels.

    Raises
    ------
    ArrayError
        If an array is not layers by one other dimension, names a layer or column twice, has more neurons than can be
        seen, or the estimate belongs to another sweep.
    """
    kind, numbers = _read(effect, "the effect")
    layers, columns = (_labels(effect, name, size) for name, size in zip(("layer", kind), numbers.shape, strict=True))
    _check_many(kind, len(columns), numbers.nbytes)
    rows = np.argsort(layers)
    order = np.argsort(columns) if kind in _IN_ORDER and isinstance(columns[0], int) else np.arange(len(columns))
    within = np.ix_(rows, order)
    guess = None if estimate is None else _same(estimate, kind, layers, columns)[within]
    tokens, sources = ([texts[at] for at in order] if texts else [] for texts in _texts(effect, kind, len(columns)))
    return Cells(
        sorted(layers), kind, [columns[at] for at in order], tokens, sources, numbers[within], guess, _facts(effect)
    )


def _read(values: Any, what: str) -> tuple[str, np.ndarray]:
    """Give what the columns are, and the numbers ``[layer, column]``."""
    dims = tuple(getattr(values, "dims", ("layer", "position")))
    kinds = [name for name in dims if name in KINDS]
    if "layer" not in dims or not kinds:
        expected = f"expected {what} with dimensions layer and one of {', '.join(KINDS)}"
        msg = f"{expected}, got ({', '.join(map(str, dims))})"
        raise ArrayError(msg)
    if len(dims) > 2:
        extra = next(name for name in reversed(dims) if name not in ("layer", kinds[0]))
        msg = (
            f"expected {what} with dimensions layer and one other, got ({', '.join(map(str, dims))}): "
            f"choose with .sel({extra}=…), or take .max({extra!r}) or .mean({extra!r})"
        )
        raise ArrayError(msg)
    ordered = values.transpose("layer", kinds[0]) if hasattr(values, "dims") else values
    numbers = as_floats(ordered)
    if numbers.ndim != 2 or numbers.size == 0:
        msg = f"expected {what} as one number for each cell, an array (layer, {kinds[0]}), got shape {numbers.shape}"
        raise ArrayError(msg)
    return kinds[0], numbers


def _labels(values: Any, name: str, count: int) -> list[Any]:
    """Give the coordinate along a dimension, as whole numbers or as names; counted if there is none."""
    found = values.coords[name].values.tolist() if name in getattr(values, "coords", ()) else list(range(count))
    whole = all(isinstance(label, (int, float)) and float(label).is_integer() for label in found)
    labels = [int(label) if whole else str(label) for label in found]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        msg = f"expected each {name} once, {name} {twice} is there {labels.count(twice)} times"
        raise ArrayError(msg)
    if name == "layer" and not whole:
        msg = f"expected layers as whole numbers, got {labels[0]!r}"
        raise ArrayError(msg)
    return labels


def _check_many(kind: str, columns: int, size: int) -> None:
    if kind == "neuron" and columns > _MOST_NEURONS:
        msg = (
            f"this view would draw {columns} neurons, more than {_MOST_NEURONS}: choose fewer with "
            "patch(…, neurons=) or effect.sel(neuron=…)"
        )
        raise ArrayError(msg)
    check_size(2 * size, knob=f"patch(…, {KINDS[kind]}=, layers=), or effect.isel({kind}=slice(512))")


def _same(estimate: Any, kind: str, layers: list[int], columns: list[Any]) -> np.ndarray:
    """Give an estimate of the same sweep, its cells in the order of the effect's."""
    other, numbers = _read(estimate, "the estimate")
    expected, places = (layers, columns), []
    if other != kind or numbers.shape != (len(layers), len(columns)):
        sizes = f"(layer={len(layers)}, {kind}={len(columns)})"
        msg = f"expected an estimate of the same cells {sizes}, got (layer={len(numbers)}, {other}={numbers.shape[1]})"
        raise ArrayError(msg)
    for name, size, here in zip(("layer", kind), numbers.shape, expected, strict=True):
        there = _labels(estimate, name, size)
        lacking = [label for label in here if label not in there]
        if lacking:
            msg = f"expected an estimate of the same cells, it lacks {name} {lacking[0]}"
            raise ArrayError(msg)
        places.append([there.index(label) for label in here])
    return numbers[np.ix_(*places)]


def _texts(effect: Any, kind: str, count: int) -> tuple[list[str], list[str]]:
    """Give the tokens of the columns in the run that is patched into, and in the other; nothing if not known."""
    coords = getattr(effect, "coords", {})
    names = ("token", "source_token") if kind == "position" else (f"{kind}_token", f"{kind}_source_token")
    here = [coords[name].values if name in coords and coords[name].dims == (kind,) else None for name in names]
    tokens, sources = ([] if found is None else check_tokens(found, count, what=kind) for found in here)
    return tokens, sources if tokens else []


def _facts(effect: Any) -> dict[str, Any]:
    attrs = getattr(effect, "attrs", {})
    note = "; ".join(f"{number}: {attrs[name]}" for number, name in ((0, "zero"), (1, "one")) if name in attrs)
    return {
        "site": str(attrs.get("site", "")),
        "metric": str(attrs.get("metric", "metric")).replace("_", " "),
        "base": _number(effect, "base"),
        "source": _number(effect, "source"),
        "note": note,
        "complete": bool(attrs.get("complete", 1)),
    }


def _number(effect: Any, name: str) -> float | None:
    """Give a coordinate that is one finite number."""
    found = getattr(effect, "coords", {}).get(name)
    if found is None or found.ndim:
        return None
    return float(found) if np.isfinite(float(found)) else None
