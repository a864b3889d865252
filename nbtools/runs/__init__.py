"""Runs: the one place where models run. No gradients, one lock per model, nothing left behind."""

from nbtools.runs.forward import Run, forward, lock
from nbtools.runs.latest import Latest
from nbtools.runs.liveness import Liveness, liveness
from nbtools.runs.threads import settle_threads, setup

__all__ = ["Latest", "Liveness", "Run", "forward", "liveness", "lock", "settle_threads", "setup"]
