"""Measures: numbers read off a run, as labelled arrays."""

from nbtools.measures.attention import attention
from nbtools.measures.heads import (
    HEAD_MEASURES,
    attention_to,
    entropy,
    head_scores,
    keys_duplicate,
    keys_first,
    keys_induction,
    keys_previous,
)
from nbtools.measures.lens import logit_lens
from nbtools.measures.predictions import next_token, surprise

__all__ = [
    "HEAD_MEASURES",
    "attention",
    "attention_to",
    "entropy",
    "head_scores",
    "keys_duplicate",
    "keys_first",
    "keys_induction",
    "keys_previous",
    "logit_lens",
    "next_token",
    "surprise",
]
