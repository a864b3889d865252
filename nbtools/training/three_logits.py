"""Three numbers that learn in context: why there is a plateau, and then a jump."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from nbtools.errors import InputError

__all__ = ["ThreeLogits", "three_logits"]

_NAMES = ("beta", "alpha", "xi")
_MOST = 700.0  # a logit beyond which exp() has no number
Point = Float[np.ndarray, "... 3"]


@dataclass(frozen=True)
class ThreeLogits:
    r"""A model of in-context learning with three parameters, one inside the other.

    With N pairs of items and labels in the context, of C = N / burstiness classes, and L labels in all:

    .. math::

        q_1 = \frac{e^{\beta}}{e^{\beta} + N}, \quad
        q_2 = \frac{e^{\alpha q_1}}{e^{\alpha q_1} + C - 1}, \quad
        P = \frac{e^{\xi q_2}}{e^{\xi q_2} + (C - 1) e^{\xi (1 - q_2) / (C - 1)} + L - C}

    :math:`q_1` is the attention of a label to the item before it, in the first layer; :math:`q_2` that of the target
    to the right label, in the second, all its copies together; P the probability of the right label, and the loss is
    :math:`-\log P`.

    Attributes
    ----------
    pairs, labels
        N and L.
    burstiness
        How often each class of the context is in it.

    References
    ----------
    .. [1] Reddy, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
       task", 2024. The formulas follow the description there of nested logits, for a burstiness of 1, and are not
       copied; that several copies share their attention is what follows for more.

    Examples
    --------
    From the origin the gradient moves only the last parameter, unless all labels are in the context:

    >>> ThreeLogits(8, 32).gradient([0.0, 0.0, 0.0]).round(4).tolist()
    [0.0, 0.0, -0.0938]
    >>> ThreeLogits(8, 8).gradient([0.0, 0.0, 0.0]).tolist()
    [0.0, 0.0, 0.0]
    """

    pairs: int
    labels: int
    burstiness: int = 1

    def __post_init__(self) -> None:
        if self.burstiness < 1 or self.pairs % self.burstiness or not 2 <= self.classes <= self.labels:
            msg = (
                "expected pairs of 2 classes or more, each burstiness times, and at least as many labels, got "
                f"pairs={self.pairs}, labels={self.labels}, burstiness={self.burstiness}"
            )
            raise InputError(msg)

    @property
    def classes(self) -> int:
        """Different labels in the context."""
        return self.pairs // self.burstiness

    def attention(self, at: Point) -> tuple[np.ndarray, np.ndarray]:
        """Give the attention of both layers, q1 and q2, at parameters ``[..., 3]``: beta, alpha, xi."""
        beta, alpha, _ = _split(at)
        first = _share(beta, self.pairs)
        return first, _share(alpha * first, self.classes - 1)

    def probability(self, at: Point) -> np.ndarray:
        """Give the probability of the right label at parameters ``[..., 3]``."""
        return np.exp(-self.loss(at))

    def loss(self, at: Point) -> np.ndarray:
        """Give the loss in nats at parameters ``[..., 3]``."""
        xi, second = _split(at)[2], self.attention(at)[1]
        return np.logaddexp.reduce(self._logits(xi, second)) - xi * second

    def _logits(self, xi: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Give the logits of the right label, of the others in the context together, and of all that are not there."""
        others, absent = self.classes - 1, self.labels - self.classes
        with np.errstate(divide="ignore"):
            rest = np.log(absent) + 0 * xi
        return np.stack([xi * second, xi * (1 - second) / others + np.log(others), rest])

    def gradient(self, at: Point) -> Point:
        """Give the derivatives of the loss by beta, alpha and xi, at parameters ``[..., 3]``.

        Exactly zero where the formula is: at the origin by beta and alpha, and by xi as well if all labels are in
        the context.
        """
        _, alpha, xi = _split(at)
        first, second = self.attention(at)
        right, others, _ = _softmax(self._logits(xi, second))
        by_second = (right - 1 - others / (self.classes - 1)) * xi
        by_xi = (right - 1) * second + others * (1 - second) / (self.classes - 1)
        by_xi = np.where(np.abs(by_xi) < np.finfo(float).eps, 0.0, by_xi)
        inner = second * (1 - second)
        by_alpha = by_second * inner * first
        by_beta = by_second * inner * alpha * first * (1 - first)
        return np.stack([by_beta, by_alpha, by_xi], -1) + 0.0


def three_logits(
    pairs: int = 8,
    labels: int = 32,
    *,
    burstiness: int = 1,
    start: tuple[float, float, float] = (0.0, 0.0, 0.0),
    lr: float = 0.05,
    steps: int = 6000,
    every: int = 1,
) -> xr.Dataset:
    """Train the three-parameter model by plain gradient descent on its loss.

    Parameters
    ----------
    pairs, labels, burstiness
        As in `ThreeLogits`.
    start
        beta, alpha and xi before the first step.
    lr
        Size of a step, times the gradient.
    steps
        Number of steps.
    every
        Every how many steps something is kept.

    Returns
    -------
    xarray.Dataset
        Over ``step``: the parameters ``beta``, ``alpha`` and ``xi``; ``loss`` in nats; the ``probability`` of the right
        label; ``q1`` and ``q2``, the attention of both layers.

    Raises
    ------
    InputError
        If a number does not fit.

    Examples
    --------
    Long hardly more than chance, then a jump:

    >>> run = three_logits(8, 32)
    >>> run.probability.sel(step=[0, 900, 1000, 1100]).values.round(2).tolist()
    [0.03, 0.06, 0.59, 0.88]
    """
    model = ThreeLogits(pairs, labels, burstiness)
    at = np.array(start, float)
    if at.shape != (3,) or not np.isfinite(at).all():
        msg = f"expected three numbers to start from, beta, alpha and xi, got {start!r}"
        raise InputError(msg)
    if not (np.isfinite(lr) and lr > 0 and steps >= 1 and every >= 1):
        msg = f"expected lr, steps and every above 0, got lr={lr}, steps={steps}, every={every}"
        raise InputError(msg)
    path = _descend(model, at, lr, steps)[::every]
    return _labelled(model, path, every, lr)


def _descend(model: ThreeLogits, at: Point, lr: float, steps: int) -> Point:
    """Follow `ThreeLogits.gradient`, in plain numbers, which is forty times faster than with arrays.

    From a point where the gradient is zero nothing moves.
    """
    if not model.gradient(at).any():
        return np.tile(at, (steps + 1, 1))
    exp, others, absent = math.exp, model.classes - 1, model.labels - model.classes
    beta, alpha, xi = at.tolist()
    path = [(beta, alpha, xi)]
    for _ in range(steps):
        first = 1 / (1 + model.pairs * exp(min(-beta, _MOST)))
        second = 1 / (1 + others * exp(min(-alpha * first, _MOST)))
        right, other = xi * second, xi * (1 - second) / others
        most = max(right, other, 0.0)
        weight, rest = exp(right - most), others * exp(other - most)
        total = weight + rest + absent * exp(-most)
        miss, wrong = weight / total - 1, rest / total / others
        inner = (miss - wrong) * xi * second * (1 - second)
        beta -= lr * inner * alpha * first * (1 - first)
        alpha -= lr * inner * first
        xi -= lr * (miss * second + wrong * (1 - second))
        path.append((beta, alpha, xi))
    return np.array(path)


def _labelled(model: ThreeLogits, path: Point, every: int, lr: float) -> xr.Dataset:
    first, second = model.attention(path)
    columns = {
        **{name: (path[:, place], f"parameter {name}") for place, name in enumerate(_NAMES)},
        "loss": (model.loss(path), "loss in nats"),
        "probability": (model.probability(path), "probability of the right label"),
        "q1": (first, "attention of a label to the item before it"),
        "q2": (second, "attention of the target to the right label"),
    }
    return xr.Dataset(
        {name: ("step", values, {"long_name": meaning}) for name, (values, meaning) in columns.items()},
        {"step": np.arange(len(path)) * every},
        attrs={"pairs": model.pairs, "labels": model.labels, "burstiness": model.burstiness, "lr": lr},
    )


def _split(at: Point) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = np.asarray(at, float)
    if found.shape[-1:] != (3,):
        msg = f"expected parameters [..., 3], beta, alpha and xi, got shape {found.shape}"
        raise InputError(msg)
    return found[..., 0], found[..., 1], found[..., 2]


def _share(logit: np.ndarray, others: int) -> np.ndarray:
    """Give the share of one thing with this logit among others with none."""
    return 1 / (1 + others * np.exp(-np.maximum(logit, -_MOST)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(0))
    return weights / weights.sum(0)
