"""How many threads torch uses, and the seeds of a session."""

from __future__ import annotations

import os
import random
import time

import numpy as np
import torch

__all__ = ["settle_threads", "setup"]

_GAIN = 1.15  # two threads must be this much faster than one to be worth a core
_USER_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_settled: list[int] = []


def setup(*, seed: int = 0, threads: int | None = None) -> None:
    """Start a notebook: seed Python, NumPy and torch, and settle the number of threads.

    Parameters
    ----------
    seed
        Seed of the global generators. Functions of nbtools that draw take their own `seed`.
    threads
        Threads for torch on the CPU; by default measured once, see `settle_threads`.

    Examples
    --------
    >>> setup(seed=0)
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if threads is not None:
        torch.set_num_threads(threads)
        _settled[:] = [threads]
    settle_threads()


def settle_threads() -> int:
    """Choose torch's thread count once per process, and return it.

    On a shared machine more threads can be many times slower than one, because each small
    operation waits for the slowest. So a burst of products of the size of one decoder layer is
    timed with one thread and with torch's default, and the default is kept only if it wins.
    A count set with `setup`, ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS`` is respected.

    Examples
    --------
    >>> settle_threads() == torch.get_num_threads()
    True
    """
    if not _settled:
        _settled.append(_choose(torch.get_num_threads()))
        torch.set_num_threads(_settled[0])
    return _settled[0]


def _choose(most: int) -> int:
    if most == 1 or any(os.environ.get(name) for name in _USER_VARIABLES):
        return most
    return most if _burst_seconds(1) > _GAIN * _burst_seconds(most) else 1


def _burst_seconds(threads: int, *, products: int = 30, repeats: int = 5) -> float:
    """Time a burst of small matrix products: the best of several, after one to warm up."""
    torch.set_num_threads(threads)
    rows, weights = torch.ones(16, 576), torch.ones(576, 1536)
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for _ in range(products):
            rows @ weights
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]
