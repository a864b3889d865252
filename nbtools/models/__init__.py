"""Models: a hooked model in one line, its facts, and its tokens."""

from nbtools.models.describe import Description, describe
from nbtools.models.embedded import cache_dir, fetch, status, verify
from nbtools.models.loading import EMBEDDED, load
from nbtools.models.tokens import Tokens, tokens

__all__ = [
    "EMBEDDED",
    "Description",
    "Tokens",
    "cache_dir",
    "describe",
    "fetch",
    "load",
    "status",
    "tokens",
    "verify",
]
