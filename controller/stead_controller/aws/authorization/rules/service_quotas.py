"""Service Quotas' operations, on an account as a whole or on one of its quotas."""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Rule, Target, rule


def _quota(asked: Asked) -> Iterator[Check]:
    for service in asked.values("ServiceCode"):
        for quota in asked.values("QuotaCode"):
            call = asked.call
            prefix = f"arn:{call.cloud.partition}:servicequotas:{call.cloud.region}:{call.caller.account_id}"
            yield Check(Target(f"{prefix}:{service}/{quota}"))


RULES: Final[dict[str, Rule]] = {
    "GetAWSDefaultServiceQuota": rule(),
    "GetRequestedServiceQuotaChange": rule(),
    "GetServiceQuota": rule(),
    "ListAWSDefaultServiceQuotas": rule(),
    "ListRequestedServiceQuotaChangeHistory": rule(),
    "ListRequestedServiceQuotaChangeHistoryByQuota": rule(),
    "ListServiceQuotas": rule(),
    "ListServices": rule(),
    "RequestServiceQuotaIncrease": rule(_quota),
}
