"""Hand the newest request to the thread that runs models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Latest", "running_loop"]

Request = TypeVar("Request")


class Latest(Generic[Request]):
    """Serve only the newest request, on the thread that made this object.

    Widget callbacks can arrive on a second thread while a cell runs, and a second thread that runs
    a model corrupts the first one's results without a word. So a request from another thread waits in a
    slot, where a newer one replaces it, and the event loop of the owner's thread picks it up when
    it is free. A request from the owner's thread is served before `submit` returns.

    Parameters
    ----------
    serve
        What to do with a request. It never runs twice at once.

    Examples
    --------
    >>> served = []
    >>> Latest(served.append).submit("now")
    >>> served
    ['now']
    """

    def __init__(self, serve: Callable[[Request], None]) -> None:
        self._serve = serve
        self._slot: list[Request] = []
        self._guard = threading.Lock()
        self._serving = threading.Lock()
        self._scheduled = False
        self._owner = threading.get_ident()
        self._loop = running_loop()

    @property
    def waiting(self) -> bool:
        """Whether a request waits to be served."""
        return bool(self._slot)

    def submit(self, request: Request) -> None:
        """Serve `request`, now or when the owner's thread is free, unless a newer one comes first."""
        with self._guard:
            self._slot[:] = [request]
        if threading.get_ident() == self._owner or self._loop is None or self._loop.is_closed():
            self._drain()
        else:
            self._schedule(self._loop)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._guard:
            if self._scheduled:
                return
            self._scheduled = True
        loop.call_soon_threadsafe(self._scheduled_drain)

    def _scheduled_drain(self) -> None:
        with self._guard:
            self._scheduled = False
        self._drain()

    def _drain(self) -> None:
        """Serve until the slot is empty; whoever is serving already takes the new request too."""
        while self._slot and self._serving.acquire(blocking=False):
            try:
                while (request := self._take()) is not None:
                    self._serve(request[0])
            finally:
                self._serving.release()
                if self._slot and self._loop is not None and not self._loop.is_closed():
                    self._schedule(self._loop)  # serve() raised: what came meanwhile is not lost

    def _take(self) -> tuple[Request] | None:
        with self._guard:
            return (self._slot.pop(),) if self._slot else None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Give the event loop that runs on this thread, if one does.

    Examples
    --------
    >>> running_loop() is None
    True
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
