"""Explorers: a view and its controls bound to a model. Touch a control and the model runs again."""

from nbtools.explorers.attention import AttentionExplorer, attention
from nbtools.explorers.circuit import CircuitExplorer, CircuitResult, circuit
from nbtools.explorers.logit_lens import LogitLensExplorer, logit_lens
from nbtools.explorers.patching import PatchingExplorer, patching
from nbtools.explorers.pattern_edit import PatternEditExplorer, pattern_edit
from nbtools.explorers.steering import SteeringExplorer, steering
from nbtools.explorers.subspace import SubspaceExplorer, subspace

__all__ = [
    "AttentionExplorer",
    "CircuitExplorer",
    "CircuitResult",
    "LogitLensExplorer",
    "PatchingExplorer",
    "PatternEditExplorer",
    "SteeringExplorer",
    "SubspaceExplorer",
    "attention",
    "circuit",
    "logit_lens",
    "patching",
    "pattern_edit",
    "steering",
    "subspace",
]
