"""What instances take of their hosts' memory: the same before they are launched, while they run, and as operators see it."""

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Host
from stead_controller.placement.guest_memory import memory_of
from stead_controller.request import instance_types
from stead_controller.resources.instances import instance_needs
from stead_controller.resources.instances.cpu_options import CpuOptions
from stead_controller.resources.operators.placement_explanation import Launch, judge_hosts
from tests.support import rows
from tests.support.rows import CLOUD, GIB

BOOTS = pytest.mark.parametrize(
    ("boot_mode", "tpm"), [("legacy-bios", False), ("uefi-preferred", False), ("uefi", True)]
)


@BOOTS
def test_an_instance_takes_what_was_planned(world, run, boot_mode, tpm):
    def take(tx):
        image = rows.image(boot_mode=boot_mode, tpm_support="v2.0" if tpm else "")
        instance = rows.launch(tx, world, world.one, boot_mode=boot_mode, sealed_tpm_key=b"k" if tpm else None)
        kind = instance_types.find(tx, instance.instance_type)
        return instance_needs.planned(image, kind, CpuOptions(2, 1)).memory, instance_needs.of(tx, instance).memory

    assert run(take) == (memory_of(GIB, 2, uefi=boot_mode != "legacy-bios", tpm=tpm),) * 2


@BOOTS
def test_operators_see_the_same(world, run, boot_mode, tpm):
    launch = Launch("t3.micro", uefi=boot_mode == "uefi-preferred", tpm=tpm)
    least = memory_of(GIB, 2, uefi=boot_mode != "legacy-bios", tpm=tpm)
    for free, fits in ((least, True), (least - 1, False)):
        run(
            lambda tx, free=free: (
                tx.session.execute(update(Host).values(**rows.offered({"memory_free": free}))) and None
            )
        )
        [judged] = run(judge_hosts, CLOUD, launch)
        assert (judged.refusals == ()) == fits
