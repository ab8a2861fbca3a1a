"""What instances with unlimited CPU credits are charged for, as their hosts count it.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances-unlimited-mode-concepts.html
"""

from datetime import datetime
from typing import Final

from stead_controller.db.tables import Instance
from stead_controller.metering import amounts, uses
from stead_controller.metering.amounts import Count
from stead_controller.metering.ledger import Resource
from stead_controller.request.transaction import Transaction
from stead_proto.v1.host_pb2 import CpuCreditBalance

_NAME: Final = "surplus-credits"


def bill(tx: Transaction, instance: Instance, host_id: str, balance: CpuCreditBalance, now: datetime) -> None:
    """Bill the credits that a host has charged an instance for since it told last; told again, nothing.

    What a host tells is counted by the account that it has for the instance: another one, there or elsewhere, begins at
    zero.
    """
    if not balance.charged:
        return
    [more] = amounts.grown(tx, [Count(instance.id, _NAME, f"{host_id}/{balance.made}", balance.charged)])
    if more:
        family = instance.instance_type.partition(".")[0]
        resource = Resource(instance.id, instance.account_id, instance.zone)
        amounts.add(tx, [(resource, uses.of_surplus_credits(family, more))], now)
