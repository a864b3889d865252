"""What differs between an answer and the expected one, said in words.

Numbers agree within a tolerance and NaN equals NaN; 2, 2.0 and a tensor without dimensions that holds 2
are the same number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Integral, Number
from typing import Any

import numpy as np

from nbtools.lessons.values import LIMIT, brief, introduced, kind, scalar, sizes, without_addresses

__all__ = ["Comparison"]

_CONTENT = {"b": "truth values", **dict.fromkeys("iufc", "numbers"), **dict.fromkeys("SUT", "text")}


@dataclass(frozen=True)
class Comparison:
    """A comparison of values to a tolerance.

    Attributes
    ----------
    rtol, atol
        Numbers agree when they differ by at most ``atol + rtol * abs(expected)``;
        two whole numbers, only when equal.
    """

    rtol: float = 1e-4
    atol: float = 1e-6

    def difference(self, attempt: Any, expected: Any, path: str = "") -> str | None:
        """Say what differs first, or return None where the two agree.

        Raises
        ------
        TypeError
            If values of this type cannot be compared.

        Examples
        --------
        >>> Comparison().difference([1, {"a": 2}], [1, {"a": 3}])
        "at [1]['a']: expected 3, got 2"
        >>> Comparison().difference((0.1 + 0.2, float("nan")), (0.3, float("nan")))
        """
        attempt, expected = scalar(attempt), scalar(expected)
        wanted = kind(expected)
        if kind(attempt) != wanted:
            return _at(path, f"expected {wanted}, got {introduced(attempt)}")
        methods: dict[str, Callable[[Any, Any, str], str | None]] = {
            "a number": self._numbers,
            "text": self._texts,
            "a list": self._sequences,
            "a tuple": self._sequences,
            "a dict": self._dicts,
            "a set": self._sets,
            "a numpy array": self._arrays,
            "a torch tensor": self._tensors,
            "an xarray DataArray": self._labelled,
        }
        return methods.get(wanted, self._others)(attempt, expected, path)

    def _numbers(self, attempt: Any, expected: Any, path: str) -> str | None:
        if isinstance(attempt, Integral) and isinstance(expected, Integral):
            same = attempt == expected
        else:  # complex() reads Fraction and Decimal too
            same = bool(self._close(np.asarray(complex(attempt)), np.asarray(complex(expected))))
        return None if same else _at(path, _both(expected, attempt))

    def _texts(self, attempt: str, expected: str, path: str) -> str | None:
        if attempt == expected:
            return None
        if max(len(attempt), len(expected)) <= LIMIT:
            return _at(path, _both(expected, attempt))
        pairs = enumerate(zip(attempt, expected, strict=False))
        start = next((n for n, (a, b) in pairs if a != b), min(len(attempt), len(expected)))
        return _at(path, f"from character {start} on: {_both(expected[start:], attempt[start:])}")

    def _sequences(self, attempt: Sequence[Any], expected: Sequence[Any], path: str) -> str | None:
        if len(attempt) != len(expected):
            return _at(path, f"expected {len(expected)} items, got {len(attempt)}")
        pairs = enumerate(zip(attempt, expected, strict=True))
        found = (self.difference(a, b, f"{path}[{n}]") for n, (a, b) in pairs)
        return next((text for text in found if text), None)

    def _dicts(self, attempt: Mapping[Any, Any], expected: Mapping[Any, Any], path: str) -> str | None:
        missing, extra = expected.keys() - attempt.keys(), attempt.keys() - expected.keys()
        if missing or extra:
            return _at(path, f"the keys differ: {_membership(missing, extra)}")
        found = (self.difference(attempt[k], expected[k], f"{path}[{brief(k)}]") for k in expected)
        return next((text for text in found if text), None)

    def _sets(self, attempt: Set[Any], expected: Set[Any], path: str) -> str | None:
        came, wanted = _one_nan(attempt), _one_nan(expected)
        if came == wanted:
            return None
        return _at(path, f"the members differ: {_membership(wanted - came, came - wanted)}")

    def _tensors(self, attempt: Any, expected: Any, path: str) -> str | None:
        return self._arrays(_from_torch(attempt), _from_torch(expected), path)

    def _labelled(self, attempt: Any, expected: Any, path: str) -> str | None:
        if set(attempt.dims) != set(expected.dims):
            return _at(path, f"expected the dimensions {expected.dims}, got {attempt.dims}")
        if dict(attempt.sizes) != dict(expected.sizes):
            return _at(path, f"expected the sizes {sizes(expected)}, got {sizes(attempt)}")
        found = (self._coordinate(attempt, expected, name) for name in sorted(expected.coords, key=str))
        text = next((text for text in found if text), None)
        if text:
            return _at(path, text)
        values = attempt.transpose(*expected.dims).values
        return self._arrays(values, expected.values, path, lambda index: _labels(expected, index))

    def _coordinate(self, attempt: Any, expected: Any, name: Any) -> str | None:
        if name not in attempt.coords:
            return f"the coordinate {name!r} is missing"
        came, wanted = attempt.coords[name], expected.coords[name]
        if set(came.dims) != set(wanted.dims):
            return f"the coordinate {name!r} lies along {came.dims}, expected {wanted.dims}"
        text = self._arrays(came.transpose(*wanted.dims).values, wanted.values, "")
        return f"in the coordinate {name!r}: {text}" if text else None

    def _arrays(
        self, attempt: np.ndarray, expected: np.ndarray, path: str, label: Callable[[Any], str] | None = None
    ) -> str | None:
        if attempt.shape != expected.shape:
            return _at(path, f"expected the shape {expected.shape}, got {attempt.shape}")
        if "O" in (attempt.dtype.kind, expected.dtype.kind):
            return self.difference(attempt.tolist(), expected.tolist(), path)
        came, wanted = (_CONTENT.get(a.dtype.kind, str(a.dtype)) for a in (attempt, expected))
        if came != wanted:
            return _at(path, f"expected {wanted} ({expected.dtype}), got {came} ({attempt.dtype})")
        wrong = ~(self._close if wanted == "numbers" else _same)(attempt, expected)
        return _at(path, _first(attempt, expected, wrong, label or _index)) if wrong.any() else None

    def _close(self, attempt: np.ndarray, expected: np.ndarray) -> np.ndarray:
        if attempt.dtype.kind in "iu" and expected.dtype.kind in "iu":
            return _same(attempt, expected)
        with np.errstate(all="ignore"):
            return np.isclose(attempt, expected, rtol=self.rtol, atol=self.atol, equal_nan=True)

    def _others(self, attempt: Any, expected: Any, path: str) -> str | None:
        if attempt is expected:
            return None
        if type(expected).__eq__ is object.__eq__:
            msg = f"{kind(expected)} cannot be compared with another"
            raise TypeError(msg)
        return None if bool(attempt == expected) else _at(path, _both(expected, attempt))


def _from_torch(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.is_sparse:
        tensor = tensor.to_dense()
    if tensor.is_floating_point():  # NumPy has no bfloat16
        tensor = tensor.double()
    return tensor.resolve_conj().resolve_neg().numpy()


def _same(attempt: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return (attempt == expected) | ((attempt != attempt) & (expected != expected))


def _first(attempt: np.ndarray, expected: np.ndarray, wrong: np.ndarray, label: Callable[[Any], str]) -> str:
    index = tuple(int(n) for n in np.argwhere(wrong)[0])
    values = _both(expected[index], attempt[index])
    start = f"{wrong.sum()} of {wrong.size} values differ, first at {label(index)}"
    return f"{start}: {values}{_largest(attempt, expected)}"


def _largest(attempt: np.ndarray, expected: np.ndarray) -> str:
    if attempt.dtype.kind not in "iufc":
        return ""
    with np.errstate(all="ignore"):
        gaps = np.abs(attempt.astype(complex) - expected.astype(complex))
    gaps = gaps[~np.isnan(gaps)]
    return f"; the largest difference is {gaps.max():.3g}" if gaps.size else ""


def _index(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]"


def _labels(array: Any, index: tuple[int, ...]) -> str:
    places = zip(array.dims, index, strict=True)
    return ", ".join(f"{d}={brief(array.indexes[d][n]) if d in array.indexes else n}" for d, n in places)


def _one_nan(members: Set[Any]) -> set[Any]:
    # np.nan is one object, so all NaN become the same member.
    return {np.nan if isinstance(member, Number) and member != member else member for member in members}


def _membership(missing: Set[Any], extra: Set[Any]) -> str:
    parts = (("missing", missing), ("not expected", extra))
    return "; ".join(f"{name} {', '.join(sorted(map(brief, some)))}" for name, some in parts if some)


def _both(expected: Any, attempt: Any) -> str:
    wanted, came = brief(expected), brief(attempt)
    if wanted == came:  # they differ further on than is shown
        wanted, came = without_addresses(repr(scalar(expected))), without_addresses(repr(scalar(attempt)))
    return f"expected {wanted}, got {came}"


def _at(path: str, text: str) -> str:
    return f"at {path}: {text}" if path else text
