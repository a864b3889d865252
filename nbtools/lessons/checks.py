"""Checks of exercises: correct, incorrect, not attempted, or cannot be checked, and never an exception.

In a notebook that holds the solutions, the environment variable ``NBTOOLS_CHECKS=raise`` turns everything
but correct into a `CheckError`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nbtools.errors import InputError, NbtoolsError
from nbtools.lessons.compare import Comparison
from nbtools.lessons.hints import Hint, as_hint
from nbtools.lessons.markup import box, html_text
from nbtools.lessons.values import brief, introduced, kind, without_addresses

__all__ = ["CheckError", "Outcome", "check"]

Status = Literal["correct", "incorrect", "not attempted", "cannot be checked"]
Finding = tuple[Status, str]

_SHAPES = {"correct": "✓", "incorrect": "✗", "not attempted": "○", "cannot be checked": "?"}
_ACCENTS = {"correct": "#009E73", "incorrect": "#D55E00", "cannot be checked": "#E69F00"}


class CheckError(NbtoolsError, AssertionError):
    """An answer is not correct, where ``NBTOOLS_CHECKS=raise`` demands that it is."""


@dataclass(frozen=True, repr=False)
class Outcome:
    """What a check found. True when the answer is correct.

    Attributes
    ----------
    status
        ``"correct"``, ``"incorrect"``, ``"not attempted"`` or ``"cannot be checked"``.
    name
        What was checked.
    detail
        What differs, what to do, or what was raised.
    hint
        Help that is offered while the answer is not correct.
    """

    status: Status
    name: str = ""
    detail: str = ""
    hint: Hint | None = None

    @property
    def ok(self) -> bool:
        """Whether the answer is correct."""
        return self.status == "correct"

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        offered = [] if self.ok or self.hint is None else repr(self.hint).splitlines()
        return "\n  ".join([self._title, *([self.detail] if self.detail else []), *offered])

    def to_html(self) -> str:
        """Draw the outcome as a small card, with the hints folded up."""
        detail = f"<div>{html_text(self.detail)}</div>" if self.detail else ""
        offered = "" if self.ok or self.hint is None else self.hint.to_html()
        accent = _ACCENTS.get(self.status, "currentColor")
        return box(f"<strong>{html_text(self._title)}</strong>", detail, offered, accent=accent)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self.to_html()}

    @property
    def _title(self) -> str:
        named = f"{self.name}: {self.status}" if self.name else self.status
        return f"{_SHAPES[self.status]} {named}"


def check(
    attempt: Any,
    expected: Any,
    *,
    inputs: list[Any] | None = None,
    name: str = "",
    hint: Hint | str | Sequence[str] | None = None,
    rtol: float = 1e-4,
    atol: float = 1e-6,
) -> Outcome:
    """Tell a learner whether an answer is right, and if not, what differs.

    Parameters
    ----------
    attempt
        The learner's value or, with `inputs`, the learner's function. A value of ``...`` or None, a function
        that raises NotImplementedError, and one that returns ``...``, are not attempted.
    expected
        The right value. With `inputs`: a function that gives the right results, or a list of them.
    inputs
        The arguments of each call: a tuple holds several, anything else is the only one.
        They are copied for each call, so a function may change them; models are handed over as they are.
    name
        What is checked; a function's own name if not given.
    hint
        Help to offer while the answer is not correct: text, several texts, or what `hint` returns.
    rtol, atol
        How far numbers may differ: ``atol + rtol * abs(expected)``.
        Whole numbers must be equal; NaN equals NaN.

    Returns
    -------
    Outcome
        True when correct.

    Raises
    ------
    CheckError
        Only with the environment variable ``NBTOOLS_CHECKS=raise``, for any outcome but correct.
    InputError
        If the exercise itself is put wrongly.

    Examples
    --------
    >>> check([1, 2, 4], [1, 2, 3], name="Exercise 1")
    ✗ Exercise 1: incorrect
      at [2]: expected 3, got 4

    >>> def double(x):
    ...     return x + x
    >>> check(double, lambda x: 2 * x, inputs=[3, 0.5, "ab"])
    ✓ double: correct
      3 of 3 inputs agree
    >>> check(double, [9], inputs=[3], hint="Which sign is it?")
    ✗ double: incorrect
      for the input 3: expected 9, got 6
      hint: Which sign is it?
    """
    strict = _demanded()
    comparison = Comparison(rtol=rtol, atol=atol)
    if inputs is None:
        status, detail = _check_value(attempt, expected, comparison)
    else:
        status, detail = _check_function(attempt, _answers(expected, inputs), inputs, comparison)
    outcome = Outcome(status, name or _own_name(attempt), without_addresses(detail), as_hint(hint))
    if strict and not outcome.ok:
        raise CheckError(repr(outcome))
    return outcome


def _demanded() -> bool:
    setting = os.environ.get("NBTOOLS_CHECKS", "").strip().lower()
    if setting not in ("", "show", "raise"):
        msg = f'expected NBTOOLS_CHECKS in the environment to be "show" or "raise", got {setting!r}; set one'
        raise InputError(msg)
    return setting == "raise"


def _own_name(attempt: Any) -> str:
    name = getattr(attempt, "__name__", "") if callable(attempt) else ""
    return "" if name == "<lambda>" else name


def _check_value(attempt: Any, expected: Any, comparison: Comparison) -> Finding:
    if kind(expected) == "a function":
        msg = "expected a value, got a function; to compare functions pass inputs=[...]"
        raise InputError(msg)
    if attempt is ... or (attempt is None and expected is not None):
        return "not attempted", f"write your answer in place of {'...' if attempt is ... else attempt}"
    return _compare(attempt, expected, comparison)


def _compare(attempt: Any, expected: Any, comparison: Comparison) -> Finding:
    try:
        text = comparison.difference(attempt, expected)
    except Exception as error:
        return "cannot be checked", f"the comparison stopped with {_told(error)}"
    return ("incorrect", text) if text else ("correct", "")


def _answers(expected: Any, inputs: list[Any]) -> list[Callable[..., Any]]:
    """Return, for each input, a function of the arguments that gives the right result."""
    if not isinstance(inputs, list) or not inputs:
        msg = f"expected inputs= to be a list of one or more inputs, got {brief(inputs)}; write inputs=[...]"
        raise InputError(msg)
    if callable(expected):
        return [expected] * len(inputs)
    if not isinstance(expected, (list, tuple)) or len(expected) != len(inputs):
        results = f"a list of {len(inputs)} results, one for each input"
        msg = f"expected= must be a function, or {results}; got {brief(expected)}"
        raise InputError(msg)
    return [lambda *_, result=result: result for result in expected]


def _check_function(
    attempt: Any, answers: list[Callable[..., Any]], inputs: list[Any], comparison: Comparison
) -> Finding:
    if attempt is ... or attempt is None:
        return "not attempted", "write your function first"
    if not callable(attempt):
        return "incorrect", f"expected a function, got {introduced(attempt)}"
    for answer, given in zip(answers, inputs, strict=True):
        status, detail = _check_call(attempt, answer, given, comparison)
        if status != "correct":
            return status, detail if status == "not attempted" else f"for the input {brief(given)}: {detail}"
    return "correct", f"{len(inputs)} of {len(inputs)} inputs agree"


def _check_call(attempt: Any, answer: Callable[..., Any], given: Any, comparison: Comparison) -> Finding:
    arguments = _arguments(given)
    try:
        expected = answer(*arguments)
    except Exception as error:
        return "cannot be checked", f"the exercise's own answer raised {_told(error)}; tell its author"
    arguments = _arguments(given)
    try:
        result = attempt(*arguments)
    except NotImplementedError as error:
        return "not attempted", f"it says: {error}" if str(error) else "write its body, then run this cell again"
    except Exception as error:
        return "cannot be checked", f"it raised {_told(error)}{_line(attempt, error)}"
    if result is ...:
        return "not attempted", "it returns ...; write your answer there"
    if result is None and expected is not None:
        return "incorrect", f"expected {kind(expected)}, got None; does it end with `return`?"
    return _compare(result, expected, comparison)


def _arguments(given: Any) -> tuple[Any, ...]:
    """Copy the arguments of one call; a model is too big for that, and keeps its hooks only as it is."""
    arguments = given if isinstance(given, tuple) else (given,)
    models = {id(argument): argument for argument in arguments if hasattr(argument, "named_parameters")}
    try:
        return copy.deepcopy(arguments, models)
    except Exception as error:
        msg = f"expected inputs that can be copied, {brief(given)} cannot: {error}; detach() tensors first"
        raise InputError(msg) from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _line(attempt: Any, error: Exception) -> str:
    """Say which line of the learner's own code the error came from, where that is known."""
    frame = error.__traceback__.tb_next if error.__traceback__ else None
    if frame is None or frame.tb_frame.f_code is not getattr(attempt, "__code__", None):
        return ""
    return f" (line {frame.tb_lineno})"
