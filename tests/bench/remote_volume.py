"""Budget P13: a volume of another host costs <= 80 us more per operation than the same file opened directly.

Run as root: python -m tests.support.box python -m tests.bench.remote_volume. Operations of 4 KiB, one at a time, on a
qcow2 volume whose clusters are allocated: opened directly, and by the way that a guest of another host has: unix socket,
proxy, TLS, home. A home flushes each write to a qcow2 volume, so writes are compared with those that are flushed, too.
"""

import re
import statistics
import subprocess
from pathlib import Path

from tests.host.exports.conftest import VOLUME, new_world, write

LIMIT = 80.0
COUNT = 4000
ROUNDS = 5
_TOOK = re.compile(r"Run completed in ([0-9.]+) seconds")


def _measure(image: str, image_format: str, *options: str) -> float:
    """Microseconds per operation."""
    command = ["qemu-img", "bench", "-f", image_format, "-c", str(COUNT), "-d", "1", "-s", "4096", *options, image]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    took = _TOOK.search(said)
    assert took, said
    return float(took[1]) / COUNT * 1e6


def _compare(what: str, local: tuple[str, ...], remote: tuple[str, ...], disk: Path, url: str) -> None:
    """Measure both ways in turns, and print how much more the remote one takes."""
    direct, far = [], []
    for _ in range(ROUNDS):
        direct.append(_measure(str(disk), "qcow2", *local))
        far.append(_measure(url, "raw", *remote))
    more = statistics.median(far) - statistics.median(direct)
    verdict = "ok" if more <= LIMIT else "ABOVE"
    print(f"{what}: +{more:.0f} us per operation (limit {LIMIT:.0f}, {verdict});", end=" ")
    print(f"direct {' '.join(f'{value:.0f}' for value in direct)}; remote {' '.join(f'{value:.0f}' for value in far)}")


def main() -> None:
    """Measure reads and writes."""
    with new_world() as world:
        world.home.daemons.serve(world.export())
        source = world.client.daemons.connect(world.remote())
        write(source, 1, 0, 48 << 20)
        local = world.root / "local.qcow2"
        subprocess.run(["cp", world.disk, local], check=True)
        url = f"nbd+unix:///{VOLUME}?socket={source.socket}"
        _compare("reads", (), (), local, url)
        _compare("writes, both flushed", ("-w", "-t", "writethrough"), ("-w",), local, url)
        _compare("writes, flushed by the home alone", ("-w",), ("-w",), local, url)


if __name__ == "__main__":
    main()
