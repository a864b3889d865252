"""Training: small models trained while you watch, with every checkpoint kept."""

from nbtools.training.bigram_backcopy import BOS, BigramBackcopy, bigram_backcopy
from nbtools.training.config import ATTENTION, TinyConfig
from nbtools.training.progress import Progress
from nbtools.training.sink_progress import SINK_MEASURES, SinkProgress
from nbtools.training.tiny import TinyTransformer
from nbtools.training.trainer import Training, train
from nbtools.training.trajectory import Trajectory, log_spaced

__all__ = [
    "ATTENTION",
    "BOS",
    "SINK_MEASURES",
    "BigramBackcopy",
    "Progress",
    "SinkProgress",
    "TinyConfig",
    "TinyTransformer",
    "Training",
    "Trajectory",
    "bigram_backcopy",
    "log_spaced",
    "train",
]
