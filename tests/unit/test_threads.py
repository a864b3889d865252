"""The number of threads is measured once, and what the user chose is respected."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from nbtools.runs import settle_threads, setup, threads


@pytest.fixture(autouse=True)
def unsettled(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_settled", [])
    for name in threads._USER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "expected"), [({1: 1.0, 4: 0.5}, 4), ({1: 1.0, 4: 0.95}, 1), ({1: 1.0, 4: 9.0}, 1)]
)
def test_more_threads_are_used_only_where_they_are_faster(monkeypatch, seconds, expected):
    monkeypatch.setattr(threads, "_burst_seconds", seconds.__getitem__)
    assert threads._choose(4) == expected


def test_it_is_measured_once(monkeypatch):
    calls = []
    monkeypatch.setattr(threads, "_choose", lambda most: calls.append(most) or 1)
    assert (settle_threads(), settle_threads(), len(calls)) == (1, 1, 1)


@pytest.mark.parametrize("name", threads._USER_VARIABLES)
def test_a_count_set_in_the_environment_is_kept(monkeypatch, name):
    monkeypatch.setenv(name, "3")
    monkeypatch.setattr(threads, "_burst_seconds", lambda threads: 1 / 0)
    assert threads._choose(3) == 3


def test_setup_seeds_every_generator_and_takes_a_thread_count():
    draws = []
    for _ in range(2):
        setup(seed=7, threads=1)
        draws.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert draws[0] == draws[1]
    assert settle_threads() == torch.get_num_threads() == 1
