"""The fast engine proves itself on the model at hand, once, before it is used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from nbtools.errors import InputError
from nbtools.patching.plan import Plan
from nbtools.patching.running import Running
from nbtools.patching.sites import site_of
from nbtools.patching.twin import twin_of
from nbtools.runs.forward import lock

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

__all__ = ["EngineName", "all_logits", "choose_engine", "difference", "prove", "proven", "random_pair"]

EngineName = Literal["auto", "resumed", "hooks"]

_TOLERANCE = 1e-4  # of the metric, between the engines, relative to its size
_POSITIONS = 12
_proven: WeakKeyDictionary[torch.nn.Module, tuple[object, dict[str, str]]] = WeakKeyDictionary()


def choose_engine(
    model: TransformerBridge, engine: EngineName, problem_of: Callable[[], str] | None = None
) -> tuple[str, str]:
    """Choose the fast engine where it gives, on this model, what full runs give; say why.

    `problem_of` says what is wrong with the fast engine, or nothing; by default `prove`.

    Raises
    ------
    InputError
        If the fast one was asked for and cannot be used here.
    """
    if engine not in ("auto", "resumed", "hooks"):
        msg = f"expected the engine 'auto', 'resumed' or 'hooks', got {engine!r}"
        raise InputError(msg)
    if engine == "hooks":
        return "hooks", "asked for"
    problem = prove(model) if problem_of is None else problem_of()
    if problem and engine == "resumed":
        msg = f"{model.cfg.architecture} cannot be resumed: {problem}; use engine='auto'"
        raise InputError(msg)
    return ("hooks", problem) if problem else ("resumed", "proven on this model")


def prove(model: TransformerBridge) -> str:
    """Compare both engines on random tokens, once for each model; say what is wrong, or nothing.

    `patch` does this by itself before it uses the fast engine.

    Examples
    --------
    >>> prove(load())
    ''
    """
    return proven(model, "patch", lambda: _disagreement(model))


def proven(model: TransformerBridge, kind: str, compare: Callable[[], str]) -> str:
    """Compare engines once for each model and kind of experiment; say what is wrong, or nothing."""
    try:
        with lock(model), torch.no_grad():
            twin = twin_of(model)
        known = _proven.get(model)
        if known is None or known[0] is not twin:
            _proven[model] = known = (twin, {})
        if kind not in known[1]:
            known[1][kind] = compare()
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        return f"its layers could not be run on their own ({type(error).__name__}: {error})"
    return known[1][kind]


def difference(sample: Callable[[str], Running], what: str) -> str:
    """Run a sample with both engines; say how far they are apart if that is too far."""
    fast, full = (_finished(sample(engine)) for engine in ("resumed", "hooks"))
    off = float(np.nanmax(np.abs(fast.values - full.values)))
    if off <= _TOLERANCE * max(1.0, float(np.abs(full.ends).max())):
        return ""
    return f"resumed runs differ from full ones by {off:.2g} at {what}"


def random_pair(model: TransformerBridge) -> Int[Tensor, "2 1 position"]:
    """Give two random prompts of a few tokens to compare engines on."""
    length = min(_POSITIONS, model.cfg.n_ctx)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(model.cfg.d_vocab, (2, 1, length), generator=generator).to(model.cfg.device)


def _disagreement(model: TransformerBridge) -> str:
    found = (difference(partial(_sample, model, site), site) for site in ("resid_pre", "z"))
    return next(filter(None, found), "")


def _finished(running: Running) -> Running:
    for _ in running:
        pass
    return running


def _sample(model: TransformerBridge, site: str, engine: str) -> Running:
    """Lay out a few cells in the first, middle and last layer on two random prompts."""
    ids = random_pair(model)
    length = ids.shape[-1]
    layers = sorted({0, model.cfg.n_layers // 2, model.cfg.n_layers - 1})
    few = (
        {"position": np.array([0, 3, length - 1])}
        if site == "resid_pre"
        else {"head": np.array([0, model.cfg.n_heads - 1])}
    )
    plan = Plan(site_of(site), layers, few, length, np.zeros(1, int))
    return Running(model, plan, *ids, all_logits, engine=engine, budget=2e8)


def all_logits(logits: torch.Tensor) -> torch.Tensor:
    """Weigh all logits, so that none can be wrong unseen."""
    weights = torch.linspace(-1, 1, logits.shape[-1], device=logits.device)
    return logits @ weights / len(weights) ** 0.5
