"""Patching: causal experiments, in which activations are changed and the answer is watched."""

from nbtools.patching.exact import Sweep, patch
from nbtools.patching.sites import SITES

__all__ = ["SITES", "Sweep", "patch"]
