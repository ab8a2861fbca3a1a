"""By hand: `python -m tests.recovery.groups --instances 1000 --seed 7`; prints what came of it, and ends with 1 for violations."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.recovery.groups.growth import Plan, run


def main() -> int:
    """Let a group grow and shrink."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=8, help="in each of four phases")
    parser.add_argument("--hosts", type=int, default=20, help="of each of two processes")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    plan = Plan(asked.seed, asked.instances, asked.instances // 10, asked.kills, hosts=asked.hosts)
    print(f"seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="stead-groups-", dir="/var/tmp") as made:
        report = run(plan, Path(made), lambda text: print(text, flush=True))
    print(report.text())
    return int(bool(report.violations))


if __name__ == "__main__":
    sys.exit(main())
