"""Look inside transformers from a Jupyter notebook, and change what you see.

::

    import nbtools as nb

    model = nb.load()                                        # a real language model, offline
    nb.explorers.attention(model, "The Eiffel Tower is in")  # type, click, watch it run

The rooms, from the ground up: `models`, `tasks`, `runs`, `measures`, `patching`, `training`, `views`, `explorers`,
`lessons`. Importing nbtools loads none of them: torch and TransformerLens come with the first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOMS = (
    "errors",
    "explorers",
    "lessons",
    "measures",
    "models",
    "naming",
    "patching",
    "runs",
    "tasks",
    "training",
    "views",
)
_SHORTCUTS = {
    "describe": "nbtools.models",
    "liveness": "nbtools.runs",
    "load": "nbtools.models",
    "setup": "nbtools.runs",
}

__all__ = ["__version__", *_ROOMS, *_SHORTCUTS]

if TYPE_CHECKING:
    from nbtools import errors as errors
    from nbtools import explorers as explorers
    from nbtools import lessons as lessons
    from nbtools import measures as measures
    from nbtools import models as models
    from nbtools import naming as naming
    from nbtools import patching as patching
    from nbtools import runs as runs
    from nbtools import tasks as tasks
    from nbtools import training as training
    from nbtools import views as views
    from nbtools.models import describe as describe
    from nbtools.models import load as load
    from nbtools.runs import liveness as liveness
    from nbtools.runs import setup as setup


def __getattr__(name: str) -> Any:
    """Import a room, or the function behind a shortcut, when it is first used."""
    if name in _ROOMS:
        return importlib.import_module(f"nbtools.{name}")
    if name in _SHORTCUTS:
        return getattr(importlib.import_module(_SHORTCUTS[name]), name)
    msg = f"nbtools has no {name!r}; it has {', '.join(__all__[1:])}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
