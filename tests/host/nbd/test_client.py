"""The NBD client reads of real images what is in them, and sees their holes and dirty bitmaps."""

import random
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stead_proto.nbd import wire
from stead_proto.nbd.client import NbdClient
from stead_proto.nbd.wire import NbdError
from tests.support.examples import examples
from tests.support.qemu_nbd import exported

KIB = 1024
MIB = 1024 * KIB
SIZE = 8 * MIB


def qemu_io(image: Path, *commands: str) -> None:
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *words, image], check=True, stdout=subprocess.DEVNULL)


def make(image: Path, size: int = SIZE) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, str(size)], check=True)


WRITES = st.lists(
    st.tuples(
        st.integers(0, SIZE // (64 * KIB) - 4), st.integers(1, 4), st.sampled_from([0x11, 0x22, 0x33, 0]), st.booleans()
    ),
    max_size=12,
)


@settings(
    max_examples=examples(12),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
@given(writes=WRITES, seed=st.integers(0, 1000))
def test_content_and_holes_of_random_images(writes, seed):
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "disk.qcow2"
        make(image)
        model = bytearray(SIZE)
        commands = []
        for block, count, pattern, by_zeroes in writes:
            start, length = block * 64 * KIB, count * 64 * KIB
            if by_zeroes:
                commands.append(f"write -z {start} {length}")
                model[start : start + length] = bytes(length)
            else:
                commands.append(f"write -P {pattern} {start} {length}")
                model[start : start + length] = bytes([pattern]) * length
        qemu_io(image, *commands, "flush")
        ranges = [(at, 512 * KIB) for at in range(0, SIZE, 512 * KIB)]
        odd = random.Random(seed)
        ranges += [(at := odd.randrange(SIZE - 1), odd.randint(1, min(SIZE - at, MIB))) for _ in range(8)]
        with exported(image) as socket, NbdClient(socket, "", contexts=(wire.ALLOCATION,)) as client:
            assert client.size == SIZE
            read = list(client.read_each(ranges, in_flight=5))
            assert sorted((at, len(content)) for at, content in read) == sorted(ranges)
            assert all(content == model[at : at + len(content)] for at, content in read)
            extents = client.status(0, SIZE)[wire.ALLOCATION]
        assert sum(each.length for each in extents) == SIZE
        for each in extents:
            if each.flags & wire.IS_ZERO:
                assert not any(model[each.offset : each.offset + each.length])
        unallocated = sum(each.length for each in extents if each.flags & wire.IS_ZERO)
        written = {cluster for block, count, _pattern, _z in writes for cluster in range(block, block + count)}
        assert unallocated >= SIZE - len(written) * 64 * KIB


def test_a_dirty_bitmap_shows_what_changed_since(tmp_path):
    image = tmp_path / "disk.qcow2"
    make(image)
    qemu_io(image, "write -P 1 0 8M")
    subprocess.run(["qemu-img", "bitmap", "--add", "-g", "65536", image, "since"], check=True)
    qemu_io(image, "write -P 2 1M 128k", "write -P 3 5M 1")
    context = "qemu:dirty-bitmap:since"
    with exported(image, "--bitmap=since") as socket, NbdClient(socket, "", contexts=(wire.ALLOCATION, context)) as it:
        assert set(it.contexts.values()) == {wire.ALLOCATION, context}
        dirty = [each[:2] for each in it.status(0, SIZE)[context] if each.flags & wire.IS_DIRTY]
        assert dirty == [(MIB, 128 * KIB), (5 * MIB, 64 * KIB)]
        part = it.status(MIB + 64 * KIB, 128 * KIB)
        assert [tuple(each) for each in part[context]] == [
            (MIB + 64 * KIB, 64 * KIB, wire.IS_DIRTY),
            (MIB + 128 * KIB, 64 * KIB, 0),
        ]


def test_a_disk_beyond_what_one_status_can_ask_for(tmp_path):
    image = tmp_path / "disk.qcow2"
    size = 10 << 30
    make(image, size)
    qemu_io(image, f"write -P 7 {9 << 30} 64k")
    with exported(image) as socket, NbdClient(socket, "", contexts=(wire.ALLOCATION,)) as client:
        extents = client.status(0, size)[wire.ALLOCATION]
        data = [each[:2] for each in extents if not each.flags & wire.IS_ZERO]
        assert data == [(9 << 30, 64 * KIB)]
        assert sum(each.length for each in extents) == size


def test_what_cannot_be_read_is_an_error(tmp_path):
    image = tmp_path / "disk.qcow2"
    make(image)
    with pytest.raises(NbdError):
        NbdClient(tmp_path / "nobody", "")
    with exported(image) as socket:
        with pytest.raises(NbdError, match="refused"):
            NbdClient(socket, "another name")
        with NbdClient(socket, "", contexts=("qemu:dirty-bitmap:none",)) as client:
            assert client.contexts == {}
            assert client.status(0, SIZE) == {}
            with pytest.raises(NbdError):
                client.read(SIZE - 1, 2)


def test_a_server_that_goes_away(tmp_path):
    image = tmp_path / "disk.qcow2"
    make(image)
    with exported(image) as socket:
        client = NbdClient(socket, "")
    with pytest.raises(NbdError):
        client.read(0, 512)
    client.close()
