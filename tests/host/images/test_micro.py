"""Micro boots: SSH by key, user data, growth, devices plugged, power button."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import micro

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.guest
def test_micro_does_what_an_image_must() -> None:
    trial = [sys.executable, "images/try_image.py", "--image", str(micro.build()), "--kind", "micro"]
    done = subprocess.run(
        [*trial, "--boots", "1", "--output-format", "json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert {"user data ran 1 time(s) in all", "root file system grown", "power button"} <= set(report["proven"])
