"""Traits of the pattern editor: what is read before it is taken, labelled results, and whose changes they are."""

from __future__ import annotations

import threading

import traitlets
import xarray as xr

__all__ = ["Found", "Given", "Quiet"]


class Given(traitlets.Any):
    """Anything that its owner reads; None too, which is otherwise taken unread."""

    allow_none = False


class Found(traitlets.Instance):
    """A Dataset, or None. Two are the same only if they are one: compared by value, each would equal any other."""

    def __init__(self) -> None:
        super().__init__(xr.Dataset, allow_none=True)

    def set(self, obj: traitlets.HasTraits, value: xr.Dataset | None) -> None:
        """Take a Dataset, and tell those who observe it."""
        old = self.get(obj)
        obj._trait_values[self.name] = new = self._validate(obj, value)
        if new is not old:
            obj._notify_trait(self.name, old, new)


class Quiet:
    """A while in which what this thread changes is no click. Clicks can come on another thread meanwhile.

    Examples
    --------
    >>> quiet = Quiet()
    >>> with quiet:
    ...     bool(quiet)
    True
    >>> bool(quiet)
    False
    """

    def __init__(self) -> None:
        self._threads: list[int] = []

    def __bool__(self) -> bool:
        return threading.get_ident() in self._threads

    def __enter__(self) -> None:
        self._threads.append(threading.get_ident())

    def __exit__(self, *raised: object) -> None:
        self._threads.remove(threading.get_ident())
