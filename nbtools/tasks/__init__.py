"""Tasks: prompts and token streams whose answers are known."""

from nbtools.tasks.streams import repeated_tokens

__all__ = ["repeated_tokens"]
