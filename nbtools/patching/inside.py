"""Patched runs under way: who waits for which layer, what becomes of their rows, and what is read off at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nbtools.patching.packed import Lane, Reference
from nbtools.patching.plan import Batch
from nbtools.patching.twin import twin_of

__all__ = ["Inside", "Packing", "tokens_at_once"]

_ON_THE_CPU = 2048  # beyond this a batch leaves the processor's cache without multiplying any faster
_ON_A_GPU = 32768


def tokens_at_once(device: torch.device) -> int:
    """Say how many tokens to run together, where memory allows it."""
    return _ON_THE_CPU if device.type == "cpu" else _ON_A_GPU


class Packing:
    """The part of an engine on a model's twin that does not ask what is patched."""

    pasts = 1
    """How often keys and values of unchanged positions are held at a time."""

    def run_both(self) -> None:
        """Run base and source, once, and keep what packed runs need."""
        self.twin = twin_of(self.model)
        self.kept = self.twin.reference(torch.cat([self.base, self._source]))
        self.scorer.learn_direction(self.twin)

    @property
    def nbytes(self) -> int:
        """How much memory is held from one batch to the next."""
        return self.kept.nbytes

    def ends(self) -> list[np.ndarray]:
        """Give the metric of the two runs as they are."""
        everyone = np.arange(len(self.base))
        both = self.kept.streams[-1].split(len(self.base))
        return [self.scorer.of_rows(self.twin, rows, everyone) for rows in both]

    def batches(self, budget: float, piece: int | None) -> Iterator[Batch]:
        """Cut the sweep into batches within the budget, of at most `piece` tokens."""
        cfg, length = self.model.cfg, self.plan.positions
        per_token = 4 * (20 * cfg.d_model + 6 * (cfg.d_mlp or 4 * cfg.d_model)) + 8 * cfg.n_heads * length
        per_run = 8 * length * cfg.d_model * self.pasts
        per_run += 12 * cfg.d_vocab * (length if self.scorer.reads_all else self.scorer.vocabulary_is_read)
        left = budget - self.nbytes
        most_tokens = min(int(left / per_token), piece or tokens_at_once(self.base.device))
        yield from self.plan.batches(max(1, most_tokens), max(1, int(left / per_run)))

    def scores(self, inside: Inside) -> np.ndarray:
        """Give the metric of every run of a batch that has come to the end."""
        order, parts = inside.results()
        rows = torch.cat([self._read(lane, part) for lane, part in parts])
        values = np.empty(len(inside.batch))
        values[order] = self.scorer.of_rows(self.twin, rows, inside.batch.prompt[order])
        return values

    def _read(self, lane: Lane, rows: Float[Tensor, "run position d_model"]) -> Tensor:
        """Give the output of the last layer at the last position, or at all, also where it did not change."""
        if not self.scorer.reads_all:
            return rows[:, -1:]
        return torch.cat([self.kept.streams[-1][lane.prompts, : lane.start], rows], 1)


class Inside:
    """The runs of a batch: who waits for which layer, and by their start the rows of those who are under way."""

    def __init__(self, batch: Batch, layers: list[int], length: int, device: torch.device) -> None:
        self.batch, self.length = batch, length
        self.waiting: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
        self._prompt, self._starts = torch.as_tensor(batch.prompt, device=device), []
        for number, (start, runs) in enumerate(batch.starts()):
            self._starts.append(start)
            for place in np.unique(batch.layer[runs]):
                self.waiting[layers[place]].append((number, runs[batch.layer[runs] == place]))
        self._rows: list[list[Float[Tensor, "run position d_model"]]] = [[] for _ in self._starts]
        self._runs: list[list[np.ndarray]] = [[] for _ in self._starts]
        self._ended = False

    def lane(self, number: int, runs: np.ndarray) -> Lane:
        """Give runs of one start as a lane."""
        return Lane(self._starts[number], self._prompt[runs])

    def join(self, number: int, runs: np.ndarray, rows: Float[Tensor, "run position d_model"]) -> None:
        """Let runs of a lane in."""
        self._rows[number].append(rows[:, -1:] if self._ended else rows)
        self._runs[number].append(runs)

    def packed(self, kept: Reference) -> Float[Tensor, "token d_model"]:
        """Give the rows of all who are under way, in one piece."""
        rows = [part.flatten(0, 1) for parts in self._rows for part in parts]
        return torch.cat(rows) if rows else kept.streams[0][0, :0]

    def runs(self) -> list[np.ndarray]:
        """Give the numbers of these runs, lane by lane."""
        return [np.concatenate(runs) for runs in self._runs if runs]

    def lanes(self) -> list[Lane]:
        """Give the lanes these belong to."""
        return [self.lane(number, np.concatenate(runs)) for number, runs in enumerate(self._runs) if runs]

    def advanced(self, rows: Float[Tensor, "token d_model"], *, ended: bool) -> None:
        """Take what has become of all rows, in the same order; at the end only the last of each run."""
        self._ended, lanes = ended, self.lanes()
        lengths = [1 if ended else self.length - lane.start for lane in lanes]
        parts = rows.split([length * len(lane) for length, lane in zip(lengths, lanes, strict=True)])
        under_way = [number for number, runs in enumerate(self._runs) if runs]
        for number, part, length in zip(under_way, parts, lengths, strict=True):
            self._rows[number] = [part.unflatten(0, (-1, length))]

    def results(self) -> tuple[np.ndarray, list[tuple[Lane, Float[Tensor, "run position d_model"]]]]:
        """Give the numbers of all runs, and their rows lane by lane, in the same order."""
        order = np.concatenate([part for runs in self._runs for part in runs])
        rows = [torch.cat(parts) for parts in self._rows if parts]
        return order, list(zip(self.lanes(), rows, strict=True))
