"""The micro guest runs its user data, whatever else ends meanwhile."""

import re
import subprocess
from pathlib import Path

from tests.house.checkout import ROOT

_TEXT = (ROOT / "images/micro/rootfs/usr/lib/stead/instance").read_text(encoding="utf-8")
_OUTPUT = re.search(r"^    pipe=.*?^    exec 5>&-$", _TEXT, re.MULTILINE | re.DOTALL)


def test_output_is_complete_though_children_end_meanwhile(tmp_path: Path) -> None:
    """A child that ends interrupts an open that waits for a pipe's other end; user data was lost by that."""
    assert _OUTPUT, "what takes the output is no longer in the script"
    taking = _OUTPUT[0].replace("/run/stead", str(tmp_path)).replace("/var/log", str(tmp_path))
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho said\necho wrong >&2\n")
    script.chmod(0o700)
    (tmp_path / "run").write_text(f"""
        script={script} console={tmp_path}/console number=0
        while [ $number -lt 60 ]; do
            number=$((number + 1))
            rm -f {tmp_path}/user-data-output
            for pause in 0 200 400 600 800 1000 1500 2000; do busybox usleep $pause & done
            {taking}
            wait
            cat {tmp_path}/console
        done
    """)
    done = subprocess.run(["busybox", "sh", tmp_path / "run"], capture_output=True, text=True, timeout=120, check=True)
    assert (done.stdout, done.stderr) == ("said\nwrong\nstead-micro: user data ended with status 0\n" * 60, "")
