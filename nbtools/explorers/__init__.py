"""Explorers: a view and its controls bound to a model. Touch a control and the model runs again."""

from nbtools.explorers.attention import AttentionExplorer, attention

__all__ = ["AttentionExplorer", "attention"]
