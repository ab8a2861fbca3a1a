"""A storm by hand: `python -m tests.recovery.storm --minutes 60 --seed 7`; prints what came of it, and ends with 1 for violations."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.recovery.storm.faults import FAULTS
from tests.recovery.storm.storm import Plan, weather
from tests.support import box, micro
from tests.support.shared_models import share_among_clients


def main() -> int:
    """Make the guest image, enter a box, and let the storm go."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="faults of this kind; more than once")
    parser.add_argument("--folder", type=Path, help="for the history and the logs; default: a new one below /var/tmp")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="stead-storm-", dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}, history in {folder}", flush=True)
    micro.build()
    box.enter()
    share_among_clients()
    report = weather(Plan(options.seed, options.minutes, options.hosts, kinds=tuple(options.only or FAULTS)), folder)
    text = report.text()
    (folder / "report").write_text(text + "\n", encoding="utf-8")
    print(text)
    return int(bool(report.violations))


if __name__ == "__main__":
    sys.exit(main())
