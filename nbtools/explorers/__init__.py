"""Explorers: a view and its controls bound to a model. Touch a control and the model runs again."""

from nbtools.explorers.attention import AttentionExplorer, attention
from nbtools.explorers.logit_lens import LogitLensExplorer, logit_lens
from nbtools.explorers.patching import PatchingExplorer, patching
from nbtools.explorers.steering import SteeringExplorer, steering
from nbtools.explorers.subspace import SubspaceExplorer, subspace

__all__ = [
    "AttentionExplorer",
    "LogitLensExplorer",
    "PatchingExplorer",
    "SteeringExplorer",
    "SubspaceExplorer",
    "attention",
    "logit_lens",
    "patching",
    "steering",
    "subspace",
]
