"""What a start asks for beside room on a host: a root volume, a quota; and what begins anew with it."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from stead_controller.db.tables import Instance, Volume
from stead_controller.errors import InvalidParameter, LimitExceeded, WrongState
from stead_controller.resources import quotas
from stead_controller.resources.instances.start_instances import start_instances
from stead_controller.resources.instances.stop_instances import stop_instances
from stead_proto.v1 import host_pb2 as pb
from tests.support.rows import NOW


class Starts:
    """Two instances that have stopped."""

    def __init__(self, life):
        self.life = life
        self.one, self.other = life.launch(2, instance_type="t3.nano")
        for each in (self.one, self.other):
            life.is_running(each)
            life.run(stop_instances, life.caller, [each], NOW)
            life.power(each, pb.MACHINE_POWER_OFF)
            assert life.instance(each).state == "stopped"

    def start(self, instance_id=None, now=NOW):
        return self.life.run(start_instances, self.life.caller, self.life.world.cloud, [instance_id or self.one], now)

    def change(self, model, **values):
        """Change the first instance, or its volumes."""
        mine = model.id if model is Instance else model.instance_id
        self.life.run(lambda tx: tx.session.execute(update(model).where(mine == self.one).values(**values)) and None)


@pytest.fixture
def starts(life):
    return Starts(life)


@pytest.mark.parametrize("values", [{"device_name": "/dev/sdf"}, {"attachment_state": "detaching"}])
def test_one_without_a_root_volume_is_refused_whatever_others_have(starts, unchanged, values):
    starts.change(Volume, **values)
    unchanged()
    with pytest.raises(InvalidParameter, match="does not have a volume attached at root"):
        starts.start()
    unchanged()
    [change] = starts.start(starts.other)
    assert change.current == "pending"


def test_one_that_lost_its_host_is_refused(starts):
    starts.change(Instance, host_id=None)
    with pytest.raises(WrongState, match="not in a state from which it can be started"):
        starts.start()


def test_more_than_the_quota_of_processors_is_refused(starts, unchanged):
    account_id, vcpus = starts.life.caller.account_id, starts.life.instance(starts.one).vcpus
    starts.life.run(quotas.set_value, account_id, quotas.STANDARD_VCPUS, vcpus)
    starts.start()
    unchanged()
    with pytest.raises(LimitExceeded) as caught:
        starts.start(starts.other)
    assert caught.value.code == "VcpuLimitExceeded"
    unchanged()


def test_saved_credits_are_lost_after_seven_days(starts):
    starts.change(Instance, saved_credits=5_000)
    starts.start(now=NOW + timedelta(days=8))
    assert starts.life.instance(starts.one).saved_credits == 0


def test_its_role_has_new_keys(starts, monkeypatch):
    begun = []
    monkeypatch.setattr(
        "stead_controller.resources.instances.start_instances.instance_credentials.begin",
        lambda _tx, _cloud, instance, now: begun.append((instance.id, now)),
    )
    starts.start(now=NOW + timedelta(hours=1))
    assert begun == [(starts.one, NOW + timedelta(hours=1))]
