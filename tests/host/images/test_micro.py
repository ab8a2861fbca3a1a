"""Micro boots: SSH by key, user data, IPv6, growth, devices plugged, power button."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import emulator, micro

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.guest
def test_micro_does_what_an_image_must() -> None:
    trial = [sys.executable, "images/try_image.py", "--image", str(micro.build()), "--kind", "micro"]

    def boot() -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*trial, "--boots", "1", "--output-format", "json"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if ended := re.search(r"QEMU ended with status (-\d+)", done.stdout + done.stderr):
            emulator.check_status(int(ended[1]), done.stdout + done.stderr)
        return done

    done = emulator.booted(boot)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    ipv6 = {"IPv6 at interface 0", "IPv6 at interface 1"}
    assert {"user data ran 1 time(s) in all", "root file system grown", "power button"} | ipv6 <= set(report["proven"])
