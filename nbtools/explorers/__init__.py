"""Explorers: a view and its controls bound to a model. Touch a control and the model runs again."""

from nbtools.explorers.attention import AttentionExplorer, attention
from nbtools.explorers.logit_lens import LogitLensExplorer, logit_lens

__all__ = ["AttentionExplorer", "LogitLensExplorer", "attention", "logit_lens"]
