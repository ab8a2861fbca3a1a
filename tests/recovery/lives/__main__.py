"""Lives by hand: `python -m tests.recovery.lives --lives 20000 --seed 7`; prints what came of it, and ends with 1 for violations."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.recovery.lives.lives import Plan, run
from tests.support.shared_models import share_among_clients


def main() -> int:
    """Let so many instances live."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=20_000)
    parser.add_argument("--round", type=int, default=500, help="lives between two looks")
    parser.add_argument("--kills", type=int, default=4, help="in each round")
    parser.add_argument(
        "--quiet", type=int, default=10, help="rounds at the end without kills, when memory is measured"
    )
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="at most; so many of them without kills, in proportion"
    )
    parser.add_argument("--controllers", type=int, choices=(1, 2), default=1)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="default: what so many controllers need")
    parser.add_argument("--trace", action="store_true", help="where controllers allocate, in FOLDER/memory; slow")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--folder", type=Path, help="for the cloud; default: a new one below /var/tmp, removed at the end"
    )
    asked = parser.parse_args()
    share_among_clients()
    is_shared = (asked.database or ("sqlite", "postgresql")[asked.controllers - 1]) == "postgresql"
    if asked.controllers > 1 and not is_shared:
        parser.error("two controllers need PostgreSQL")
    plan = Plan(
        asked.seed, asked.lives, asked.round, asked.kills, asked.quiet,
        minutes=asked.minutes, controllers=asked.controllers, is_shared=is_shared, traces=asked.trace,
    )  # fmt: skip
    print(f"seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="stead-lives-", dir="/var/tmp") as made:
        folder = asked.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        report = run(plan, folder, lambda text: print(text, flush=True))
    print(report.text())
    return int(bool(report.violations))


if __name__ == "__main__":
    sys.exit(main())
