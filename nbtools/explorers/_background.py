"""Long work in small pieces on the main loop, so that a kernel goes on answering while it is done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from nbtools.runs.latest import running_loop

__all__ = ["Background", "Ending"]

Piece = TypeVar("Piece")

_PAUSE = 0.01  # seconds; a kernel's message needs several turns of the loop, from its socket to its callback


@dataclass(frozen=True)
class Ending:
    """How some work ended.

    Attributes
    ----------
    whole
        Whether every piece was done.
    error
        What a piece raised; None if it was stopped, or is whole.
    """

    whole: bool = False
    error: Exception | None = None


@dataclass(eq=False)
class _Job(Generic[Piece]):
    pieces: Iterator[Piece]
    show: Callable[[Piece], None]
    end: Callable[[Ending], None]


class Background(Generic[Piece]):
    """Run an iterator piece by piece on the thread that made this object; between two pieces its loop is free.

    A model must not be run on a second thread, and must not keep the kernel from hearing a click. So each piece
    is one callback of the event loop, and after it the loop rests for a moment: a message of the page, which
    needs several turns to arrive, is served before the next piece. Where no loop runs, all is done at once.

    Examples
    --------
    >>> done = []
    >>> Background().start(iter("abc"), show=done.append, end=lambda ending: done.append(ending.whole))
    >>> done
    ['a', 'b', 'c', True]
    """

    def __init__(self) -> None:
        self._job: _Job[Piece] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._owner = threading.get_ident()
        self._loop = running_loop()

    @property
    def busy(self) -> bool:
        """Whether there are pieces left to run."""
        return self._job is not None

    @property
    def yields(self) -> bool:
        """Whether others have their turn between two pieces: a loop runs."""
        return self._loop is not None and self._loop.is_running()

    def start(self, pieces: Iterable[Piece], *, show: Callable[[Piece], None], end: Callable[[Ending], None]) -> None:
        """Begin with other work, and abandon what is running.

        Parameters
        ----------
        pieces
            Each step of the iteration is one piece.
        show
            Called with what each piece gave. It may start or stop work itself.
        end
            Called once with how it ended.
        """
        self.stop()
        self._job = _Job(iter(pieces), show, end)
        if self.yields:
            self._later(self._job)
        else:
            self.finish()

    def stop(self) -> None:
        """Abandon what is running; from another thread, as soon as the piece in progress is done."""
        job = self._job
        if job is None:
            return
        if threading.get_ident() == self._owner or not self.yields:
            self._end(job, Ending())
        else:
            self._loop.call_soon_threadsafe(self._end, job, Ending())

    def finish(self) -> None:
        """Run all that is left, now."""
        job = self._job
        while job is not None and job is self._job:
            self._step(job)

    def _later(self, job: _Job[Piece]) -> None:
        self._timer = self._loop.call_later(_PAUSE, self._turn, job)

    def _turn(self, job: _Job[Piece]) -> None:
        if job is not self._job:
            return
        self._step(job)
        if job is self._job:
            self._later(job)

    def _step(self, job: _Job[Piece]) -> None:
        """Run one piece; what it raises ends the work, and nothing else."""
        try:
            piece = next(job.pieces)
            if job is self._job:
                job.show(piece)
        except StopIteration:
            self._end(job, Ending(whole=True))
        except Exception as error:
            self._end(job, Ending(error=error))
        except BaseException:  # an interrupt: the pieces cannot go on, what was shown stays
            self._end(job, Ending())
            raise

    def _end(self, job: _Job[Piece], ending: Ending) -> None:
        if job is not self._job:
            return
        self._job = None
        if self._timer is not None:
            self._timer.cancel()
        job.end(ending)
