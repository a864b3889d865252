"""Tasks: prompts and token streams whose answers are known."""

from nbtools.tasks.colored_objects import candidates, colored_objects
from nbtools.tasks.facts import facts
from nbtools.tasks.interchange import Interchange, interchange
from nbtools.tasks.ioi import ioi
from nbtools.tasks.metric import LogitDifference, LogProbability, Metric, Probability
from nbtools.tasks.orders import ioi_orders
from nbtools.tasks.pair import pair
from nbtools.tasks.streams import repeated_tokens
from nbtools.tasks.task import Task
from nbtools.tasks.windows import WINDOW_KINDS, windows

__all__ = [
    "WINDOW_KINDS",
    "Interchange",
    "LogProbability",
    "LogitDifference",
    "Metric",
    "Probability",
    "Task",
    "candidates",
    "colored_objects",
    "facts",
    "interchange",
    "ioi",
    "ioi_orders",
    "pair",
    "repeated_tokens",
    "windows",
]
