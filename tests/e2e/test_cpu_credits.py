"""CPU credits of a real instance: without any it is slow, unlimited it is not; what it owes outlives its agent."""

from stead_agent.credits.accounts import AccountFiles
from stead_agent.credits.ledger import Ledger
from tests.support import halting_image
from tests.support.real_cloud import RealCloud, User, qemu_process_of
from tests.support.vcpu_groups import VcpuGroups
from tests.support.waiting import wait_for


def test_an_instance_spends_its_credits(real_cloud: RealCloud, user: User) -> None:
    halts = halting_image.add(real_cloud.operator, user.folder)
    [instance_id] = user.run(ImageId=halts, InstanceType="t2.nano", CreditSpecification={"CpuCredits": "unlimited"})
    process = qemu_process_of(instance_id)
    assert process is not None
    group = VcpuGroups(process)
    assert not group.is_limited()
    _set_mode(user, instance_id, "standard")  # it has no credits of its launch then
    wait_for(group.is_limited, "it is limited", 120)

    real_cloud.kill(real_cloud.agent)
    owed = _ledger(real_cloud, instance_id)
    real_cloud.up()
    _set_mode(user, instance_id, "unlimited")
    wait_for(lambda: not group.is_limited(), "it is free", 120)
    after = _ledger(real_cloud, instance_id)
    assert after.spent >= owed.spent
    assert after.charged >= owed.charged
    user.terminate([instance_id])
    wait_for(lambda: instance_id not in _files(real_cloud).present(), "its account is removed", 120)


def _set_mode(user: User, instance_id: str, mode: str) -> None:
    asked = [{"InstanceId": instance_id, "CpuCredits": mode}]
    done = user.ec2.modify_instance_credit_specification(InstanceCreditSpecifications=asked)  # type: ignore[arg-type]  # one of two literals
    assert done["UnsuccessfulInstanceCreditSpecifications"] == []


def _files(cloud: RealCloud) -> AccountFiles:
    return AccountFiles(cloud.settings.agent_dir / "credits")


def _ledger(cloud: RealCloud, instance_id: str) -> Ledger:
    account = _files(cloud).load(instance_id)
    assert account is not None
    return account.ledger
