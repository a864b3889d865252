"""Tasks: prompts and token streams whose answers are known."""

from nbtools.tasks.facts import facts
from nbtools.tasks.ioi import ioi
from nbtools.tasks.metric import LogitDifference, Metric, Probability
from nbtools.tasks.pair import pair
from nbtools.tasks.streams import repeated_tokens
from nbtools.tasks.task import Task

__all__ = ["LogitDifference", "Metric", "Probability", "Task", "facts", "ioi", "pair", "repeated_tokens"]
