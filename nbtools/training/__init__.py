"""Training: small models trained while you watch, with every checkpoint kept."""

from nbtools.training.bigram_backcopy import BOS, BigramBackcopy, bigram_backcopy
from nbtools.training.classifier import InContextClassifier
from nbtools.training.classifier_config import ClassifierConfig
from nbtools.training.config import ATTENTION, TinyConfig
from nbtools.training.in_context import EPISODES, Episodes, InContext, in_context
from nbtools.training.in_context_progress import IN_CONTEXT_MEASURES, InContextProgress
from nbtools.training.induction_progress import INDUCTION_MEASURES, InductionProgress
from nbtools.training.markov_repeats import MarkovRepeats, markov_repeats
from nbtools.training.minimal_induction import MinimalInduction
from nbtools.training.progress import Progress
from nbtools.training.sink_progress import SINK_MEASURES, SinkProgress
from nbtools.training.three_logits import ThreeLogits, three_logits
from nbtools.training.tiny import TinyTransformer
from nbtools.training.trainer import Training, train
from nbtools.training.trajectory import Trajectory, log_spaced

__all__ = [
    "ATTENTION",
    "BOS",
    "EPISODES",
    "INDUCTION_MEASURES",
    "IN_CONTEXT_MEASURES",
    "SINK_MEASURES",
    "BigramBackcopy",
    "ClassifierConfig",
    "Episodes",
    "InContext",
    "InContextClassifier",
    "InContextProgress",
    "InductionProgress",
    "MarkovRepeats",
    "MinimalInduction",
    "Progress",
    "SinkProgress",
    "ThreeLogits",
    "TinyConfig",
    "TinyTransformer",
    "Training",
    "Trajectory",
    "bigram_backcopy",
    "in_context",
    "log_spaced",
    "markov_repeats",
    "three_logits",
    "train",
]
