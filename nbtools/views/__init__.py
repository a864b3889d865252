"""Views: pictures of labelled arrays, live in a notebook, alive in a page without a kernel, still as PNG, SVG or PDF.

Views know nothing of models: they take arrays and tokens, and give back what was selected.
"""

from nbtools.views.attention import Attention, attention
from nbtools.views.bars import Bars, bars
from nbtools.views.base import View
from nbtools.views.circuit import Circuit, circuit
from nbtools.views.direction import Direction, direction
from nbtools.views.group import Compare, Group, Link, compare, link
from nbtools.views.head_grid import HeadGrid, head_grid
from nbtools.views.landscape import Landscape, landscape
from nbtools.views.lens_grid import LensGrid, lens_grid
from nbtools.views.norms import Norms, norms
from nbtools.views.patch_grid import PatchGrid, patch_grid
from nbtools.views.scrubber import Scrubber, scrubber
from nbtools.views.token_strip import TokenStrip, token_strip

__all__ = [
    "Attention",
    "Bars",
    "Circuit",
    "Compare",
    "Direction",
    "Group",
    "HeadGrid",
    "Landscape",
    "LensGrid",
    "Link",
    "Norms",
    "PatchGrid",
    "Scrubber",
    "TokenStrip",
    "View",
    "attention",
    "bars",
    "circuit",
    "compare",
    "direction",
    "head_grid",
    "landscape",
    "lens_grid",
    "link",
    "norms",
    "patch_grid",
    "scrubber",
    "token_strip",
]
