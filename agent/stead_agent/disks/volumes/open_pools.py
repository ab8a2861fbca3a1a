"""Opens the pools in the settings; the first one is the default."""

from pathlib import Path
from typing import Final

from stead_agent.disks.volumes.directory import DirectoryPool
from stead_agent.disks.volumes.interface import VolumeError
from stead_agent.disks.volumes.local_files import LocalStore
from stead_agent.disks.volumes.lvm_thin import LvmThinPool
from stead_agent.disks.volumes.pool import Pool
from stead_agent.disks.volumes.rbd import RbdPool
from stead_agent.settings import DEFAULT_POOL, PoolSetting

_CEPH_CONF: Final = "/etc/ceph/ceph.conf"


def open_pools(
    store: LocalStore, settings: tuple[PoolSetting, ...], host_id: str = ""
) -> list[tuple[Pool, tuple[str, ...]]]:
    """Open the pools of a host, each with the volume types that it serves; raises VolumeError.

    The directory beside the images is the default one, unless a pool of that name is given. `host_id` identifies this
    host's disks in a pool that several hosts share.
    """
    pools = [(open_pool(each, host_id), each.volume_types) for each in settings]
    names = [pool.name for pool, _types in pools]
    if len(set(names)) != len(names):
        raise VolumeError(f"two pools have the same name: {', '.join(sorted(names))}")
    if DEFAULT_POOL not in names:
        default: Pool = DirectoryPool(DEFAULT_POOL, store)
        return [(default, ()), *pools]
    return sorted(pools, key=lambda each: each[0].name != DEFAULT_POOL)


def open_pool(setting: PoolSetting, host_id: str = "") -> Pool:
    """Open one; raises VolumeError."""
    if setting.backend == "lvm":
        group, _slash, thin_pool = setting.place.partition("/")
        return LvmThinPool(setting.name, group, thin_pool)
    if setting.backend == "rbd":
        pool, _at, conf = setting.place.partition("@")
        return RbdPool(setting.name, pool, Path(conf or _CEPH_CONF), host_id)
    place = Path(setting.place)
    if not place.is_dir():  # not created here: a file system may not be mounted
        raise VolumeError(f"pool {setting.name}: there is no directory {place}")
    return DirectoryPool(setting.name, LocalStore(place / "stead"))
