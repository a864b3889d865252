"""CircuitsVis and BertViz as they are at their best: installed, and drawn to HTML, in an environment of their own.

BertViz fetches require.js, d3 and jQuery when it is shown; here they come from npm, so that no network is waited for.
jQuery 2.0.0, which it asks for, is not on npm: 2.1.0 stands in. CircuitsVis carries its bundle along when it finds no
network, which it tries for up to a second each time; that second is not counted, its offline HTML is taken as it is.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".venv-peers"
REQUIREMENTS = Path(__file__).with_name("requirements-peers.txt")
SCRIPTS = {  # as BertViz names them, and where they lie in npm's packages
    "require.min.js": "requirejs/require.js",
    "d3.min.js": "d3/dist/d3.min.js",
    "jquery.min.js": "jquery/dist/jquery.min.js",
}
PACKAGES = ("requirejs@2.3.6", "d3@5.7.0", "jquery@2.1.0")


@dataclass(frozen=True)
class Tool:
    """One way to draw attention: when its page is ready, and what the mouse moves over, both in the page's language."""

    name: str
    call: str
    ready: str
    hover: str


CANVASES = "(all => all.length === LAYERS * HEADS + 1 && all.every(inked))([...document.querySelectorAll('canvas')])"
PEERS = (
    Tool("CircuitsVis 1.43.3", "attention_patterns", CANVASES, ".tokens button"),
    Tool("CircuitsVis 1.43.3", "attention_heads", CANVASES, "h2 ~ div canvas"),
    Tool("BertViz 1.4.1", "head_view", "document.querySelectorAll('#vis svg > g').length === 4", "#left text"),
    Tool("BertViz 1.4.1", "model_view", "document.getElementById(`attn_background_${LAYERS - 1}_${HEADS - 1}`)", "svg"),
)


def install() -> None:
    """Make the environment, unless it is there and as the requirements say."""
    stamp, wanted = HOME / ".installed", REQUIREMENTS.read_text(encoding="utf-8") + " ".join(PACKAGES)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    run = lambda *command: subprocess.run(command, check=True, stdout=sys.stderr)  # noqa: E731
    run(sys.executable, "-m", "venv", HOME)
    run(HOME / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS)
    run("npm", "install", "--silent", "--no-save", "--prefix", HOME, *PACKAGES)
    stamp.write_text(wanted, encoding="utf-8")


def script(address: str) -> Path:
    """Give the file that stands in for a script that BertViz asks for."""
    return HOME / "node_modules" / SCRIPTS[address.rsplit("/", 1)[-1]]


def draw(folder: Path, names: list[str]) -> dict[str, float]:
    """Write each peer's HTML of `<name>.npz` in a folder; give the seconds that each took."""
    subprocess.run([HOME / "bin" / "python", __file__, folder, *names], check=True, stdout=sys.stderr)
    return json.loads((folder / "seconds.json").read_text(encoding="utf-8"))


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Do some work three times; give its result and the median of the seconds."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        done = work()
        took.append(time.perf_counter() - start)
    return done, statistics.median(took)


def html(tool: str, pattern, tokens: list[str]) -> str:
    """Draw patterns (layer, head, query, key); CircuitsVis knows no layers and gets one list of heads."""
    import bertviz
    import torch
    from circuitsvis import attention as circuitsvis

    flat, layers = pattern.reshape(-1, *pattern.shape[2:]), [torch.from_numpy(layer)[None] for layer in pattern]
    if tool == "attention_patterns":
        return circuitsvis.attention_patterns(tokens, flat).local_src
    if tool == "attention_heads":
        return circuitsvis.attention_heads(flat, tokens).local_src
    return getattr(bertviz, tool)(layers, tokens, html_action="return").data


def main(folder: Path, names: list[str]) -> None:
    """Run in the peers' environment."""
    import numpy as np

    seconds = {}
    for name in names:
        arrays = np.load(folder / f"{name}.npz")
        pattern, tokens = arrays["pattern"], [str(token) for token in arrays["tokens"]]
        for tool in PEERS:
            html(tool.call, pattern[:1, :1], tokens)  # warm up: the first call also imports
            text, seconds[f"{name} {tool.call}"] = timed(partial(html, tool.call, pattern, tokens))
            (folder / f"{name} {tool.call}.html").write_text(text, encoding="utf-8")
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
