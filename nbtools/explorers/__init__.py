"""Explorers: a view and its controls bound to a model. Touch a control and the model runs again."""

from nbtools.explorers.attention import AttentionExplorer, attention
from nbtools.explorers.circuit import CircuitExplorer, CircuitResult, circuit
from nbtools.explorers.data_regimes import DataRegimesExplorer, data_regimes
from nbtools.explorers.emergence import EmergenceExplorer, emergence
from nbtools.explorers.logit_lens import LogitLensExplorer, logit_lens
from nbtools.explorers.patching import PatchingExplorer, patching
from nbtools.explorers.pattern_edit import PatternEditExplorer, pattern_edit
from nbtools.explorers.sinks import SinksExplorer, sinks
from nbtools.explorers.steering import SteeringExplorer, steering
from nbtools.explorers.subspace import SubspaceExplorer, subspace
from nbtools.explorers.three_logits import ThreeLogitsExplorer, three_logits
from nbtools.explorers.training import VARIANTS, TrainingExplorer, training

__all__ = [
    "VARIANTS",
    "AttentionExplorer",
    "CircuitExplorer",
    "CircuitResult",
    "DataRegimesExplorer",
    "EmergenceExplorer",
    "LogitLensExplorer",
    "PatchingExplorer",
    "PatternEditExplorer",
    "SinksExplorer",
    "SteeringExplorer",
    "SubspaceExplorer",
    "ThreeLogitsExplorer",
    "TrainingExplorer",
    "attention",
    "circuit",
    "data_regimes",
    "emergence",
    "logit_lens",
    "patching",
    "pattern_edit",
    "sinks",
    "steering",
    "subspace",
    "three_logits",
    "training",
]
