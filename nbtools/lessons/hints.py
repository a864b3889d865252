"""Hints that unfold one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nbtools.errors import InputError
from nbtools.lessons.markup import html_text

__all__ = ["Hint", "hint"]


@dataclass(frozen=True, repr=False)
class Hint:
    """Hints in the order in which they are opened.

    Attributes
    ----------
    steps
        The text of each hint, the gentlest first.
    """

    steps: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.steps or any(not isinstance(step, str) or not step.strip() for step in self.steps):
            msg = f'expected one or more texts, such as hint("Look at the shape."), got {self.steps!r}'
            raise InputError(msg)

    def __repr__(self) -> str:
        return "\n".join(f"{title.lower()}: {step}" for title, step in self._titled())

    def to_html(self) -> str:
        """Fold each hint into the one before it, as nested ``<details>``.

        Examples
        --------
        >>> hint("Where?", "In `x`.").to_html().count("<details><summary>")
        2
        """
        nested = ""
        for title, step in reversed(self._titled()):
            text = f'<div style="white-space:pre-wrap">{html_text(step)}</div>'
            nested = f"<details><summary>{title}</summary>{text}{nested}</details>"
        return nested

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.to_html()}

    def _titled(self) -> list[tuple[str, str]]:
        count = len(self.steps)
        titles = ["Hint"] if count == 1 else [f"Hint {n} of {count}" for n in range(1, count + 1)]
        return list(zip(titles, self.steps, strict=True))


def hint(*steps: str) -> Hint:
    """Show the first hint folded up, and each further one inside the one before.

    Parameters
    ----------
    *steps
        One text for each hint, the gentlest first. Code goes in backticks.

    Returns
    -------
    Hint
        Shown by a notebook as nested ``<details>``, by a terminal as lines of text.

    Raises
    ------
    InputError
        If there is no hint, or one is empty or not text.

    Examples
    --------
    >>> hint("Which axis holds the keys?", "The last one.")
    hint 1 of 2: Which axis holds the keys?
    hint 2 of 2: The last one.
    """
    return Hint(steps)


def as_hint(value: Hint | str | Sequence[str] | None) -> Hint | None:
    """Read a hint given as text, as several texts, or as what `hint` returned.

    Examples
    --------
    >>> as_hint(["Count them.", "There are two."])
    hint 1 of 2: Count them.
    hint 2 of 2: There are two.
    """
    if value is None or isinstance(value, Hint):
        return value
    return Hint((value,) if isinstance(value, str) else tuple(value))
