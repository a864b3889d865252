"""What a logit lens says: read from its Dataset, found by cell, and packed as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbtools.errors import ArrayError
from nbtools.views.colour import as_floats, check_tokens

__all__ = ["Readings", "read_lens"]

_RANKED, _FOLLOWED = ("layer", "position", "rank"), ("position", "follow")
_VARIABLES = {
    "token": _RANKED,
    "token_id": _RANKED,
    "probability": _RANKED,
    "followed": _FOLLOWED,
    "followed_id": _FOLLOWED,
    "followed_probability": ("layer", *_FOLLOWED),
    "followed_rank": ("layer", *_FOLLOWED),
}
_TEXTS = ("token", "followed")


@dataclass(frozen=True, eq=False)
class Readings:
    """A logit lens whose layers ascend; layer, position and follow below are places, not coordinates.

    Attributes
    ----------
    layers, positions
        Coordinates; layer -1 is the stream that enters layer 0.
    tokens
        Text of the prompt's tokens.
    numbers
        The arrays of the Dataset by name, their dimensions in the order of `_VARIABLES`.
    """

    layers: list[int]
    positions: list[int]
    tokens: list[str]
    numbers: Mapping[str, np.ndarray]

    @property
    def top(self) -> np.ndarray:
        """Text of the most probable token ``[layer, position]``."""
        return self.numbers["token"][..., 0]

    @property
    def probability(self) -> np.ndarray:
        """Probability of the most probable token ``[layer, position]``."""
        return self.numbers["probability"][..., 0]

    def path(self, layer: int, position: int) -> tuple[str, np.ndarray, np.ndarray]:
        """Give the text of a cell's top token, and its probability and rank ``[layer]``.

        Where that token is not followed, the first that is takes its place.
        """
        same = self.numbers["followed_id"][position] == self.numbers["token_id"][layer, position, 0]
        follow = int(same.argmax())
        both = [self.numbers[f"followed_{name}"][:, position, follow] for name in ("probability", "rank")]
        return str(self.numbers["followed"][position, follow]), *both

    def frame(self) -> dict[str, Any]:
        """Pack what the page draws: each distinct token once, and numbers as bytes.

        Positions follow different numbers of tokens; only those that are there are sent, one position after another.
        """
        there = np.isfinite(self.numbers["followed_id"])
        texts, top, followed = self._distinct(there)
        ranks = np.nan_to_num(self.numbers["followed_rank"][:, there])
        return {
            "layers": self.layers,
            "positions": self.positions,
            "tokens": self.tokens,
            "texts": texts,
            "ranks": self.numbers["token"].shape[-1],
            "top": _whole(top, len(texts)),
            "probability": _halves(self.numbers["probability"]),
            "counts": _whole(there.sum(1), 0),
            "followed": _whole(followed, len(texts)),
            "followed_probability": _halves(self.numbers["followed_probability"][:, there]),
            "followed_rank": _whole(ranks, ranks.max(initial=1)),
            "last_rank": max(10, int(ranks.max(initial=1))),
        }

    def _distinct(self, there: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Number the tokens that occur; ids tell them apart, since two of them may be written alike."""
        ids = np.concatenate([self.numbers["token_id"].ravel(), self.numbers["followed_id"][there]])
        texts = np.concatenate([self.numbers["token"].ravel(), self.numbers["followed"][there]])
        known, first, codes = np.unique(ids, return_index=True, return_inverse=True)
        named = ["" if np.isnan(token) else str(texts[at]) for token, at in zip(known, first, strict=True)]
        return named, *np.split(codes, [self.numbers["token_id"].size])


def read_lens(lens: Any) -> Readings:
    """Read the Dataset that `nbtools.measures.logit_lens` gives; its variables and dimensions are all that is used.

    Raises
    ------
    ArrayError
        If it is something else, lacks a variable or a dimension, names a layer or position twice, or holds
        probabilities beyond 0 and 1.
    """
    _check_kind(lens)
    arrays = {name: lens[name].transpose(*dims) for name, dims in _VARIABLES.items()}
    layers, positions = (_coordinate(lens, name) for name in ("layer", "position"))
    upward = np.argsort(layers)
    numbers = {name: array.values if name in _TEXTS else as_floats(array) for name, array in arrays.items()}
    numbers = {name: array[upward] if _layered(name) else array for name, array in numbers.items()}
    _check_range(numbers)
    if not np.isfinite(numbers["followed_id"]).any(1).all():
        msg = "expected a token that is followed at each position, got a position without: give logit_lens(…, follow=)"
        raise ArrayError(msg)
    texts = lens.coords["position_token"].values if "position_token" in lens.coords else positions
    return Readings(sorted(layers), positions, check_tokens(texts, len(positions), what="position"), numbers)


def _layered(name: str) -> bool:
    return _VARIABLES[name][0] == "layer"


def _check_kind(lens: Any) -> None:
    if not hasattr(lens, "data_vars"):
        msg = f"expected the Dataset that nb.measures.logit_lens gives, got {type(lens).__name__}"
        raise ArrayError(msg)
    for name, dims in _VARIABLES.items():
        if name not in lens.data_vars:
            msg = f"expected the Dataset that nb.measures.logit_lens gives, this one has no variable {name!r}"
            raise ArrayError(msg)
        _check_dimensions(lens[name], name, dims)


def _check_dimensions(array: Any, name: str, dims: tuple[str, ...]) -> None:
    if set(array.dims) != set(dims):
        msg = (
            f"expected {name!r} with dimensions ({', '.join(dims)}), got ({', '.join(array.dims)}): "
            "keep them all, and choose with lists, such as lens.sel(layer=[5])"
        )
        raise ArrayError(msg)
    if array.size == 0:
        msg = f"expected at least one layer, position, rank and followed token, got {name!r} with {dict(array.sizes)}"
        raise ArrayError(msg)


def _coordinate(lens: Any, name: str) -> list[int]:
    numbers = lens.coords[name].values if name in lens.coords else range(lens.sizes[name])
    whole = [int(number) for number in numbers]
    if len(set(whole)) < len(whole):
        twice = next(number for number in whole if whole.count(number) > 1)
        msg = f"expected each {name} once, {name} {twice} is there {whole.count(twice)} times"
        raise ArrayError(msg)
    return whole


def _check_range(numbers: Mapping[str, np.ndarray]) -> None:
    for name, low, high in (("probability", 0, 1), ("followed_probability", 0, 1), ("followed_rank", 1, np.inf)):
        wrong = (numbers[name] < low) | (numbers[name] > high + 1e-3)  # NaN is neither: it is undefined
        if wrong.any():
            msg = f"expected {name!r} from {low} to {high}, got {numbers[name][wrong][0]:g}"
            raise ArrayError(msg)


def _halves(numbers: np.ndarray) -> bytes:
    return numbers.astype(np.float16).tobytes()


def _whole(numbers: np.ndarray, most: float) -> bytes:
    """Give whole numbers as two bytes each, or four if there are more than fit in two."""
    return numbers.astype(np.uint16 if most <= np.iinfo(np.uint16).max else np.uint32).tobytes()
