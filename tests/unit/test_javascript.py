"""The tests of the views' JavaScript, in tests/js, run by vitest."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import need

ROOT = Path(__file__).parents[2]


@pytest.mark.node
def test_the_views_pass_their_own_tests(node):
    need((ROOT / "node_modules" / "vitest").is_dir(), "the packages of package-lock.json: run `npm ci`")
    command = [node, "vitest", "run", "--reporter=dot", "--no-color"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Tests\s+[1-9]\d* passed", done.stdout)
