"""What the page trains and draws of three nested logits is what Python trains and draws, to the last step."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nbtools.errors import InputError
from nbtools.explorers._three_runs import PLANES, SHADES, Course, Setting, burstinesses, check_setting, top_of
from nbtools.explorers._three_words import about_course, about_slice
from nbtools.views.colour import scale_for
from nbtools.views.landscape.reading import read_surface
from nbtools.views.scrubber.reading import read_history
from tests.conftest import need

SCRIPT = Path(__file__).parents[1] / "js" / "trained.js"
CURVES = ("probability", "loss", "q1", "q2", "xi", "alpha", "beta")
USUAL = {"pairs": 8, "labels": 32, "burstiness": 1, "beta": 0.0, "alpha": 0.0, "xi": 0.0, "lr": 0.05, "steps": 6000}
CASES = {
    "as it begins": {},
    "few pairs": {"pairs": 2, "labels": 5, "steps": 1500},
    "many pairs and labels": {"pairs": 32, "labels": 128, "steps": 20_000},
    "sixteen classes": {"pairs": 16, "steps": 4000},
    "copies": {"pairs": 12, "burstiness": 3, "steps": 2000},
    "all labels, critical": {"labels": 8, "steps": 500},
    "all labels, critical elsewhere": {"labels": 8, "alpha": 1.0, "steps": 500},
    "all labels, from beside": {"labels": 8, "beta": 0.05, "alpha": 0.05, "xi": 0.05, "steps": 5000},
    "below zero": {"beta": -2.0, "alpha": -1.5, "xi": -2.0, "steps": 3000},
    "far on": {"beta": 5.0, "alpha": 6.0, "xi": 6.0, "steps": 2000},
    "sure from the start": {"beta": 5.0, "alpha": 9.0, "xi": 12.0, "steps": 10},
    "long strides": {"lr": 1.0, "steps": 1000},
    "short strides": {"lr": 0.001, "steps": 2000},
    "one step": {"steps": 1},
    "odd numbers": {"pairs": 7, "labels": 1000, "xi": 7.77, "lr": 0.033, "steps": 777},
    "far off": {"pairs": 2, "labels": 3, "beta": -900.0, "alpha": 800.0, "xi": 900.0, "lr": 50.0, "steps": 50},
}  # fmt: skip


def asked_of(place: int, changes: dict) -> dict:
    """A setting, over each plane and along each axis in turn."""
    setting = USUAL | changes
    about = {"plane": list(PLANES)[place % 3], "scale": ("linear", "log")[place % 2], "wish": 1 + place}
    return about | {"setting": setting, "notes": Course(Setting(**setting)).notes}


@cache
def answers() -> dict[str, tuple[dict, dict, Course]]:
    asked = [asked_of(place, changes) for place, changes in enumerate(CASES.values())]
    command = [shutil.which("node"), str(SCRIPT)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    courses = [Course(Setting(**one["setting"])) for one in asked]
    return dict(zip(CASES, zip(asked, json.loads(done.stdout), courses, strict=True), strict=True))


@pytest.fixture(params=CASES)
def case(request):
    need(shutil.which("node"), "Node.js (node on the PATH)")
    return answers()[request.param]


pytestmark = pytest.mark.node


def test_every_step_of_a_training_is_that_of_python(case):
    _, page, course = case
    for name in CURVES:
        np.testing.assert_allclose(page["curves"][name], course.result[name].values, rtol=1e-9, atol=1e-9)
    assert page["half"] == (-1 if course.half is None else course.half)


def test_what_is_said_is_what_python_says(case):
    asked, page, course = case
    assert page["said"] == [about_course(course), about_slice(course, asked["plane"], page["step"])]


def test_what_fits_is_what_python_takes(case):
    asked, page, _ = case
    setting = Setting(**asked["setting"])
    fits = burstinesses(setting.pairs, setting.labels)
    assert page["fits"][:2] == [fits, max([times for times in fits if times <= asked["wish"]], default=1)]
    try:
        check_setting(Setting(**{**asdict(setting), "labels": 3}))
    except InputError as error:
        assert page["fits"][2] == str(error)
    else:
        assert page["fits"][2] == ""


def test_the_landscape_is_that_of_python(case):
    asked, page, course = case
    surface, drawn = course.surface(asked["plane"], page["step"]), page["landscape"]["steps"]
    np.testing.assert_allclose(np.reshape(page["surface"]["values"], (48, 48)), surface, rtol=1e-9, atol=1e-9)
    read = read_surface(surface, course.result.isel(step=drawn), None)
    scale = scale_for(read.values, cmap=None, vmin=0, vmax=top_of(surface), label=read.label)
    frame, found = {**read.frame(scale), **scale.frame()}, page["landscape"]
    assert set(found) == set(frame)
    for name in ("names", "columns", "label", "vmin", "vmax"):
        assert found[name] == frame[name], name
    np.testing.assert_allclose(found["ends"], frame["ends"], rtol=1e-9)
    same_ticks(found["ticks"], frame["ticks"])
    for name, kind in (("values", np.float32), ("path", np.float32), ("steps", np.int32)):
        np.testing.assert_allclose(found[name], np.frombuffer(frame[name], kind), rtol=2e-7, atol=1e-7)


def test_lines_on_the_landscape_are_those_of_python(case):
    asked, page, course = case
    surface = course.surface(asked["plane"], page["step"])
    read, found = read_surface(surface, None, None), page["landscape"]
    scale = scale_for(read.values, cmap=None, vmin=0, vmax=top_of(surface), label="")
    lines = [line for contour in read.contours(scale) for line in contour.lines]
    points = np.reshape(found["lines"], (-1, 2)) / 65535
    own = np.split(points, np.cumsum(found["counts"])[:-1]) if len(points) else []
    assert length(own) == pytest.approx(length(lines), rel=0.002, abs=0.002)
    assert len(own) == len(lines)
    texts, places = [text for *_, text in found["levels"]], np.array([place[:2] for place in found["levels"]])
    assert set(texts) <= {contour.text for contour in read.contours(scale)}
    for place in places:
        assert np.abs(points - place).sum(1).min() < 1e-4
        assert (place > 0.05).all() and (place < 0.95).all()
        assert (np.linalg.norm(places - place, axis=1) >= 0.09).sum() == len(places) - 1


def length(lines: list[np.ndarray]) -> float:
    return float(sum(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in lines))


def test_the_curves_are_those_of_python_and_true_where_they_bend(case):
    asked, page, course = case
    found, run = page["scrubber"], course.result
    drawn = found["steps"]
    names = {name: "P" if name == "probability" else name for name in CURVES}
    some = run.isel(step=drawn).assign({
        name: run[name].isel(step=drawn).assign_attrs(vmin=0, vmax=1) for name in ("probability", "q1", "q2")
    })  # fmt: skip
    frame = {**read_history(some, None, None, names, asked["scale"], None).frame(), **SHADES.frame()}
    assert set(found) == set(frame)
    for name in ("names", "notes", "band", "queries", "keys", "tokens", "bar_label", "bar_axis", "label"):
        assert found[name] == frame[name], name
    same_ticks([found["ticks"]], [frame["ticks"]])
    for own, other in zip(found["plots"], frame["plots"], strict=True):
        assert [own["vmin"], own["vmax"]] == pytest.approx([other["vmin"], other["vmax"]], rel=1e-6)
        same_ticks([own["ticks"]], [other["ticks"]])
    for name in ("mean", "low", "high", "places"):
        np.testing.assert_allclose(found[name], np.frombuffer(frame[name], np.float32), rtol=2e-7, atol=1e-7)
    assert len(drawn) <= 400 and drawn == sorted(set(drawn))
    assert {0, page["step"], course.setting.steps} <= set(drawn)
    for name in ("probability", "loss", "xi", "alpha", "beta"):
        values = run[name].values
        assert np.abs(np.interp(run.step, drawn, values[drawn]) - values).max() <= 0.01 * np.ptp(values)


def same_ticks(found: list, expected: list) -> None:
    for own, other in zip(found, expected, strict=True):
        assert [text for _, text in own] == [text for _, text in other]
        assert [place for place, _ in own] == pytest.approx([place for place, _ in other], abs=1e-6)
