"""What a first launch on a new host reads of an image before the guest runs, and what 100 volumes of it store (P15).

    .venv/bin/python tests/bench/lazy_base.py [--mib 768]

The image is the micro one with incompressible bytes behind it, in a block store on loopback. A guest is started on a host
that has none of it, and what had been fetched is counted when its shell answers. Then 100 volumes are laid over the image.
"""

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from stead_agent.disks.bases.base_servers import BaseServers  # noqa: E402 - the checkout comes first
from stead_agent.disks.bases.interface import BaseSpec  # noqa: E402 - the checkout comes first
from stead_agent.disks.bases.local_bases import LocalBases  # noqa: E402 - the checkout comes first
from stead_agent.disks.block_store import BlockStore  # noqa: E402 - the checkout comes first
from stead_agent.disks.disk_sources import FileSource  # noqa: E402 - the checkout comes first
from stead_agent.disks.volumes.interface import VolumeSpec  # noqa: E402 - the checkout comes first
from stead_agent.disks.volumes.local_files import LocalStore  # noqa: E402 - the checkout comes first
from stead_agent.disks.volumes.open_pools import open_pools  # noqa: E402 - the checkout comes first
from stead_agent.disks.volumes.pooled_volumes import PooledVolumes  # noqa: E402 - the checkout comes first
from stead_proto.blocks import BLOCK_BYTES  # noqa: E402 - the checkout comes first
from tests.support import box  # noqa: E402 - the checkout comes first
from tests.support.fake_block_store import FakeBlockStore  # noqa: E402 - the checkout comes first
from tests.support.serial_bench import SerialBench, serial_bench  # noqa: E402 - the checkout comes first
from tests.support.serial_shell import SerialShell  # noqa: E402 - the checkout comes first
from tests.support.waiting import wait_for  # noqa: E402 - the checkout comes first

READ_LIMIT = 0.10
STORED_LIMIT = 1.05
VOLUMES = 100
SNAPSHOT = "snap-0123456789abcdef0"


def stored(*folders: Path) -> int:
    """Add up the bytes that files take on the disk."""
    return sum(path.stat().st_blocks * 512 for folder in folders for path in folder.iterdir() if path.is_file())


def first_launch(bench: SerialBench, bases: LocalBases, fake: FakeBlockStore, base: BaseSpec) -> bool:
    began = time.monotonic()
    bases.ensure(base)
    layer = bases.source(base.id)
    assert layer is not None
    ready = time.monotonic() - began
    spec = bench.spec(bench.disk(base.size, bases.folder / f"{base.id}.raw", layer))
    bench.machines.start(spec, 1)
    shell = SerialShell(bench.machines, spec.id)
    read = len(fake.fetched) * BLOCK_BYTES
    seconds = time.monotonic() - began
    print(f"base ready to be read after {ready:.2f} s, the guest's shell after {seconds:.1f} s")
    ratio = read / base.stored_size
    print(f"P15: {read >> 20} MiB of {base.stored_size >> 20} MiB had been read: {ratio:.3f}, limit {READ_LIMIT}")
    wait_for(lambda: _is_file(bases, base.id), "the base is whole", 300)
    print(
        f"whole after {time.monotonic() - began:.1f} s; fetched {len(fake.fetched)} blocks, {len(set(fake.fetched))} different"
    )
    assert shell.run("cat /usr/lib/stead/init | wc -l", 60).isdigit()  # the guest reads on
    shell.close()
    bench.machines.remove(spec.id)
    return ratio <= READ_LIMIT


def many_volumes(bench: SerialBench, bases: LocalBases, base: BaseSpec) -> bool:
    store = LocalStore(bench.root / "host")
    volumes = PooledVolumes(store, open_pools(store, ()), bases.source)
    for number in range(VOLUMES):
        volumes.ensure(VolumeSpec(f"vol-{number:017x}", base.size, base_id=base.id))
    one = stored(bases.folder)
    ratio = (one + stored(bench.root / "host" / "volumes")) / one
    print(f"P15: {VOLUMES} volumes store {ratio:.3f} x one image, limit {STORED_LIMIT}")
    return ratio <= STORED_LIMIT


def _is_file(bases: LocalBases, base_id: str) -> bool:
    layer = bases.source(base_id)
    return layer is not None and isinstance(layer.source, FileSource)


def measure(bench: SerialBench, mib: int) -> bool:
    fake = FakeBlockStore()
    fake.start()
    identity = fake.identity()
    identity.save(bench.root / "state")
    image = bench.image.read_bytes()
    content = image + os.urandom((mib << 20) - len(image))
    fake.keep(SNAPSHOT, content)
    blocks = sum(len(segment.slots) for segment in fake.snapshots[SNAPSHOT].segments.values())
    base = BaseSpec(SNAPSHOT, len(content), blocks * BLOCK_BYTES)
    bases = LocalBases(
        bench.root / "host",
        BlockStore([fake.address], lambda: identity),
        servers=lambda folder: BaseServers(folder, bench.root / "state", (fake.address,)),
    )
    well = first_launch(bench, bases, fake, base) & many_volumes(bench, bases, base)
    bases.remove(SNAPSHOT)
    fake.stop()
    return well


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--mib", type=int, default=768)
    chosen = options.parse_args()
    box.enter()
    with serial_bench() as bench:
        return 0 if measure(bench, chosen.mib) else 1


if __name__ == "__main__":
    sys.exit(main())
