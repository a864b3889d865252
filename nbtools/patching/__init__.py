"""Patching: causal experiments, in which activations are changed and the answer is watched."""

from nbtools.patching.ablation import ablation
from nbtools.patching.attribution import attribute
from nbtools.patching.diagnosis import Diagnosis, compare_patches, diagnose, reader_weights, split
from nbtools.patching.exact import Sweep, patch
from nbtools.patching.mediator import Mediator
from nbtools.patching.proof import prove
from nbtools.patching.sites import SITES
from nbtools.patching.spread import spread
from nbtools.patching.steering import generate, mean_difference, steering, written
from nbtools.patching.subspace import Subspace, gradient_direction, learn_subspace, mean_direction, patch_subspace

__all__ = [
    "SITES",
    "Diagnosis",
    "Mediator",
    "Subspace",
    "Sweep",
    "ablation",
    "attribute",
    "compare_patches",
    "diagnose",
    "generate",
    "gradient_direction",
    "learn_subspace",
    "mean_difference",
    "mean_direction",
    "patch",
    "patch_subspace",
    "prove",
    "reader_weights",
    "split",
    "spread",
    "steering",
    "written",
]
