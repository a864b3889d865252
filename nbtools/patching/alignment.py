"""Distributed alignment search: directions are learned, a step at a time, from what their patch makes a model say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nbtools.errors import InputError
from nbtools.patching.subspace import Subspace, patch_subspace

if TYPE_CHECKING:
    from nbtools.patching.mediator import Mediator

__all__ = ["learn_subspace", "learning"]

_LEARNED = "distributed alignment search"


def learn_subspace(
    mediator: Mediator,
    *,
    k: int = 1,
    epochs: int = 12,
    batch: int = 20,
    rate: float = 0.01,
    patience: int = 4,
    seed: int = 0,
    progress: bool = False,
) -> Subspace:
    """Learn the directions whose patch makes the base say what it should: distributed alignment search.

    Orthonormal directions are trained by gradient descent so that the token expected of each pair becomes the most
    probable of the whole vocabulary. Nothing else of the model changes.

    Parameters
    ----------
    mediator
        Its pairs should hold some in which base and source agree, so that what is learned changes nothing there.
    k
        How many directions.
    epochs, batch, rate
        Passes over the pairs, pairs in a step, and learning rate of Adam, which falls to a tenth.
    patience
        Stop when the loss has not fallen by a thousandth for so many epochs; the best directions are kept.
    seed
        Of the first directions and the order of the pairs.
    progress
        Whether to show a progress bar.

    Returns
    -------
    Subspace
        With the mean loss of each epoch, in nats.

    Raises
    ------
    InputError
        If `k` does not fit the width, or a number is not positive.

    References
    ----------
    .. [1] Geiger et al., "Finding Alignments Between Interpretable Causal Variables and Distributed Neural
       Representations", 2023.
    .. [2] Makelov, Lange and Nanda, "Is This the Subspace You Are Looking for?", 2023 (settings).

    Examples
    --------
    >>> from nbtools.patching import Mediator
    >>> from nbtools.tasks import ioi_orders
    >>> model = load()
    >>> pairs = ioi_orders(model, pairs=8, template=0, crossing=False)
    >>> learn_subspace(Mediator(model, pairs, "resid_post", layer=20), epochs=1, batch=8)
    Subspace('distributed alignment search', width=576, k=1)
    """
    steps = learning(mediator, k=k, epochs=epochs, batch=batch, rate=rate, patience=patience, seed=seed)
    with _bar(epochs, progress) as bar:
        for found in steps:
            bar.update(len(found.losses) - bar.n)
    return found


def learning(
    mediator: Mediator,
    *,
    k: int = 1,
    epochs: int = 12,
    batch: int = 20,
    rate: float = 0.01,
    patience: int = 4,
    seed: int = 0,
) -> Iterator[Subspace]:
    """Learn as `learn_subspace` does, a step at a time; leave off whenever it is enough.

    Parameters
    ----------
    mediator, k, epochs, batch, rate, patience, seed
        As in `learn_subspace`.

    Yields
    ------
    Subspace
        The directions it begins with; then, after each step and each epoch, the best so far, with the losses of the
        epochs that are complete.

    Raises
    ------
    InputError
        If `k` does not fit the width, or a number is not positive.

    Examples
    --------
    >>> from nbtools.patching import Mediator
    >>> from nbtools.tasks import ioi_orders
    >>> model = load()
    >>> pairs = ioi_orders(model, pairs=8, template=0, crossing=False)
    >>> steps = learning(Mediator(model, pairs, "resid_post", layer=20), epochs=1, batch=4)
    >>> [len(found.losses) for found in steps]
    [0, 0, 0, 1]
    """
    _check(mediator, k, epochs, batch, rate)
    return _best_so_far(_Search(mediator, k, epochs, batch, rate, seed), epochs, patience)


def _best_so_far(search: _Search, epochs: int, patience: int) -> Iterator[Subspace]:
    lowest, basis, since = float("inf"), search.basis, 0
    losses: list[float] = []
    yield Subspace(basis, _LEARNED)
    for epoch in range(epochs):
        total = 0.0
        for loss in search.epoch():
            total += loss
            yield Subspace(basis, _LEARNED, losses.copy())
        losses.append(total / len(search.mediator))
        if losses[-1] < lowest - 1e-3:
            lowest, basis, since = losses[-1], search.basis, epoch
        yield Subspace(basis, _LEARNED, losses.copy())
        if epoch - since >= patience:
            return


class _Search:
    """Directions that are turned by gradient descent until their patch makes the base say what it should."""

    def __init__(self, mediator: Mediator, k: int, epochs: int, batch: int, rate: float, seed: int) -> None:
        self.mediator, self._batch, self._order = mediator, batch, torch.Generator().manual_seed(seed)
        self._rotation = _Rotation(mediator.width, k, self._order).to(mediator.base)
        steps = epochs * -(-len(mediator) // batch)
        self._optimiser = torch.optim.Adam(self._rotation.parameters(), lr=rate)
        self._schedule = torch.optim.lr_scheduler.LinearLR(self._optimiser, 1.0, 0.1, total_iters=steps)

    @property
    def basis(self) -> Float[Tensor, "width k"]:
        return self._rotation.basis.detach().clone()

    def epoch(self) -> Iterator[float]:
        """Go over all pairs once; give after each step the loss of its pairs, in nats, added up."""
        for chosen in torch.randperm(len(self.mediator), generator=self._order).split(self._batch):
            yield self._step(chosen) * len(chosen)

    def _step(self, chosen: Int[Tensor, " pair"]) -> float:
        mediator, rows = self.mediator, chosen.to(self.mediator.base.device)
        with torch.enable_grad():
            patched = patch_subspace(mediator.base[rows], mediator.source[rows], self._rotation.basis)
            logits = mediator.logits(patched, chosen.tolist())
            loss = torch.nn.functional.cross_entropy(logits.float(), mediator.pairs.expected[rows])
            self._optimiser.zero_grad()
            loss.backward(inputs=list(self._rotation.parameters()))
        self._optimiser.step()
        self._schedule.step()
        return loss.item()


class _Rotation(torch.nn.Module):
    """Orthonormal columns that a gradient can turn."""

    def __init__(self, width: int, k: int, generator: torch.Generator) -> None:
        super().__init__()
        line = torch.nn.Linear(width, k, bias=False)
        torch.nn.init.orthogonal_(line.weight, generator=generator)
        self.line = torch.nn.utils.parametrizations.orthogonal(line, use_trivialization=False)  # which draws at random

    @property
    def basis(self) -> Float[Tensor, "width k"]:
        return self.line.weight.T


def _bar(epochs: int, progress: bool) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=epochs, disable=not progress, desc="learning directions", leave=False)


def _check(mediator: Mediator, k: int, epochs: int, batch: int, rate: float) -> None:
    if not 1 <= k <= mediator.width:
        msg = f"expected 1 to {mediator.width} directions, as many as the activation has numbers, got {k}"
        raise InputError(msg)
    for name, value in (("epochs", epochs), ("batch", batch), ("rate", rate)):
        if not value > 0:
            msg = f"expected {name} above 0, got {value}"
            raise InputError(msg)
