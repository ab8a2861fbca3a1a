"""Auto Scaling with real guests, by hand: `nice -n -8 .venv/bin/python -m tests.recovery.groups_on_rig [load losses …]`.

Each part says what it saw, with seconds, and `ok` or `FAIL`; the status is 1 if something failed or was left. Without
names all parts are shown, one after the other; with `--rig` on a rig that is up, which stays.
"""

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.recovery.groups_on_rig import load, losses, lost_host, refresh, warm_pool
from tests.recovery.groups_on_rig.stage import Stage
from tests.recovery.storm import left
from tests.support import box, micro
from tests.support.rig import RigUser, TestRig
from tests.support.shared_models import share_among_clients

HOSTS: Final = 3
PARTS: Final[dict[str, Callable[[Stage], None]]] = {
    "losses": losses.prove,
    "refresh": refresh.prove,
    "warm_pool": warm_pool.prove,
    "lost_host": lost_host.prove,
    "load": load.prove,
}
_PATIENCE: Final = 120.0


def main() -> int:
    """Show what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--rig", type=Path, help="the folder of a rig that is up")
    options = parser.parse_args()
    parts = options.parts or [*PARTS]
    if options.rig is None:
        micro.build()
        box.enter()
    share_among_clients()
    rig = TestRig(HOSTS, zones=2) if options.rig is None else TestRig(HOSTS, zones=2, folder=options.rig)
    with tempfile.TemporaryDirectory(prefix="stead-groups-", dir="/var/tmp") as folder:
        try:
            rig.up()
            return _show(rig, parts, Path(folder), is_own=options.rig is None)
        finally:
            if options.rig is None:
                rig.down()


def _show(rig: TestRig, parts: list[str], folder: Path, *, is_own: bool) -> int:
    before = rig.inventories()
    stage = Stage(rig, RigUser(rig, rig.new_account(), folder, rig=rig), lambda text: print(text, flush=True))
    stage.note(f"load {os.getloadavg()[0]:.1f}, niceness {os.nice(0)}")
    stage.open()
    stage.make_images("one", "two")
    for part in parts:
        stage.note(f"=== {part}")
        try:
            PARTS[part](stage)
        except Exception:  # the other parts are shown all the same
            stage.show(f"{part} ended early\n{traceback.format_exc()}", holds=False)
        stage.note(f"load {os.getloadavg()[0]:.1f}")
    stage.drop_images()
    if is_own:
        for each in left.look(rig, before, _PATIENCE):
            stage.show(f"left: {each}", holds=False)
    for line in stage.log_faults():
        stage.note(f"logged: {line}")
    stage.note("all holds" if not stage.failures else f"{len(stage.failures)} failed")
    return int(bool(stage.failures))


if __name__ == "__main__":
    sys.exit(main())
