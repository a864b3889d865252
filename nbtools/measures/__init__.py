"""Measures: numbers read off a run, as labelled arrays."""

from nbtools.measures.attention import attention
from nbtools.measures.attribution import logit_attribution
from nbtools.measures.circuits import composition_scores, ov_circuit, qk_circuit
from nbtools.measures.copying import copying_rates, copying_scores
from nbtools.measures.dormancy import dormancy
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
from nbtools.measures.massive import massive_activations
from nbtools.measures.positions import attention_to_positions
from nbtools.measures.predictions import accuracy, in_context_score, next_token, surprise
from nbtools.measures.scores import score, scoring
from nbtools.measures.sinks import residual_norms, sink_logits, sink_mass, value_norms

__all__ = [
    "HEAD_MEASURES",
    "accuracy",
    "attention",
    "attention_to",
    "attention_to_positions",
    "composition_scores",
    "copying_rates",
    "copying_scores",
    "dormancy",
    "entropy",
    "head_scores",
    "in_context_score",
    "keys_duplicate",
    "keys_first",
    "keys_induction",
    "keys_previous",
    "logit_attribution",
    "logit_lens",
    "massive_activations",
    "next_token",
    "ov_circuit",
    "qk_circuit",
    "residual_norms",
    "score",
    "scoring",
    "sink_logits",
    "sink_mass",
    "surprise",
    "value_norms",
]
