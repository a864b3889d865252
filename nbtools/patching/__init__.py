"""Patching: causal experiments, in which activations are changed and the answer is watched."""

from nbtools.patching.ablation import ablation
from nbtools.patching.attribution import attribute
from nbtools.patching.exact import Sweep, patch
from nbtools.patching.proof import prove
from nbtools.patching.sites import SITES
from nbtools.patching.spread import spread
from nbtools.patching.steering import generate, mean_difference, steering

__all__ = [
    "SITES",
    "Sweep",
    "ablation",
    "attribute",
    "generate",
    "mean_difference",
    "patch",
    "prove",
    "spread",
    "steering",
]
