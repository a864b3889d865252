"""What the sink explorer says of a run, of a head, and of each token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbtools.explorers._sink_runs import SinkResult, over_others
from nbtools.naming import parse_head, visible
from nbtools.patching.sinks import SINK

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["about_head", "about_run", "details", "named", "widest"]

_LEAST = 1.0  # nats: a scale of changes reaches at least so far, and rounding errors stay white


def about_run(result: SinkResult, key: int) -> str:
    """Say how many heads rest on a token, how far the stream stands out there, and what the intervention costs."""
    heads = result.mass.sel(key=key).size
    parts = [f"{result.resting(key)} of {heads} heads above {SINK:g} on {named(result, key)}"]
    if (peak := result.peak(key)) is not None:
        parts.append(f"peak norm {peak[0]:.3g} × the others', layer {peak[1]}")
    if np.isfinite(result.loss):
        parts.append(_loss(result))
    return " · ".join(parts)


def _loss(result: SinkResult) -> str:
    if result.intervention == "unchanged":
        return f"loss {result.loss:.2f} nats"
    cost = f"{result.cost:+.2f}".replace("-", "−")
    return f"loss {result.loss:.2f}, unchanged {result.loss - result.cost:.2f} ({cost} nats)"


def about_head(result: SinkResult, head: str, key: int) -> str:
    """Say how much attention a head pays a token, and how long its value is there."""
    layer, index = parse_head(head)
    where = {"layer": layer, "head": index}
    said = f"{head} · {result.mass.sel(**where, key=key):.2f} of its attention on {named(result, key)}"
    if result.value_norms.sizes["position"] < 2:
        return said
    return f"{said} · its value there is {over_others(result.value_norms.sel(**where), key):.2g} × the others'"


def details(result: SinkResult) -> list[str]:
    """Say of each token what it is when it is hovered; beside a change what it is made of."""
    if result.intervention == "unchanged":
        return [""] * result.surprise.size
    pairs = zip(result.surprise.values, result.unchanged.values, strict=True)
    return [f"surprise {_nats(now)}, unchanged {_nats(before)}" for now, before in pairs]


def _nats(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "none"


def widest(change: xr.DataArray) -> float:
    """Give the end of a symmetric scale for changes."""
    return max(_LEAST, float(np.nanmax(np.abs(change.values), initial=0)))


def named(result: SinkResult, key: int) -> str:
    """Name a token by its position and its text."""
    return f"token {key} {visible(str(result.mass.key_token.values[key]))}"
