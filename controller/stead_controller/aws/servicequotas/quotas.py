"""GetServiceQuota, ListServiceQuotas, GetAWSDefaultServiceQuota, ListAWSDefaultServiceQuotas and ListServices."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import BadRequest, NotFound, Unsupported
from stead_controller.resources import quotas
from stead_controller.resources.quotas import Quota

_MOST: Final = 100

_operation: Final = partial(operation, service="service-quotas", writes=False)


@_operation("GetServiceQuota")
def get_service_quota(call: Call, params: Params) -> Result:
    """Show one quota of this account."""
    if params.get("ContextId"):
        raise Unsupported("Quotas of single resources are not supported.")
    return {"Quota": _applied(call, quotas.find(params["ServiceCode"], params["QuotaCode"]))}


@_operation("ListServiceQuotas")
def list_service_quotas(call: Call, params: Params) -> Result:
    """Show this account's quotas for a service."""
    found = [quota for quota in _of_service(params) if params.get("QuotaCode") in (None, quota.code)]
    if params.get("QuotaAppliedAtLevel", "ACCOUNT") == "RESOURCE":
        found = []
    shown, token = _page(call, params, "ListServiceQuotas", found)
    return {"Quotas": [_applied(call, quota) for quota in shown], "NextToken": token}


@_operation("GetAWSDefaultServiceQuota")
def get_aws_default_service_quota(call: Call, params: Params) -> Result:
    """Show AWS's default value of a quota."""
    quota = quotas.find(params["ServiceCode"], params["QuotaCode"])
    return {"Quota": _shown(call, quota, quota.default, of_account=False)}


@_operation("ListAWSDefaultServiceQuotas")
def list_aws_default_service_quotas(call: Call, params: Params) -> Result:
    """Show AWS's default values of a service's quotas."""
    shown, token = _page(call, params, "ListAWSDefaultServiceQuotas", _of_service(params))
    return {"Quotas": [_shown(call, quota, quota.default, of_account=False) for quota in shown], "NextToken": token}


@_operation("ListServices")
def list_services(call: Call, params: Params) -> Result:
    """List the services that have quotas here."""
    page = read_page(call, params, "ListServices")
    names = [name for name in sorted(quotas.SERVICES) if page.after is None or (name,) > page.after]
    shown, token = page.cut(names, lambda name: (name,))
    services = [{"ServiceCode": name, "ServiceName": quotas.SERVICES[name]} for name in shown]
    return {"Services": services, "NextToken": token}


def _of_service(params: Params) -> list[Quota]:
    service = params["ServiceCode"]
    if service not in quotas.SERVICES:
        raise NotFound("quota", [service])
    return [quota for quota in quotas.ALL if quota.service == service]


def _page(call: Call, params: Params, name: str, found: list[Quota]) -> tuple[list[Quota], str | None]:
    page = read_page(call, params, f"{name} {params['ServiceCode']}")
    rest = [quota for quota in sorted(found, key=_key) if page.after is None or _key(quota) > page.after]
    shown, token = page.cut(rest, _key)
    return list(shown), token


def read_page(call: Call, params: Mapping[str, Any], name: str) -> describe.Page:
    """Read MaxResults and NextToken; raises BadRequest."""
    try:
        return describe.page(call, params, name, at_least=1, at_most=_MOST, default=_MOST)
    except BadRequest as error:
        raise BadRequest(error.message, code="InvalidPaginationTokenException") from error


def is_global(quota: Quota) -> bool:
    """Tell whether a quota is global, that is, not regional."""
    return quota.service == "iam"


def arn_of(call: Call, quota: Quota, owner: str) -> str:
    """Return the ARN of an account's quota, or of a default one."""
    region = "" if is_global(quota) else call.cloud.region
    return f"arn:{call.cloud.partition}:servicequotas:{region}:{owner}:{quota.service}/{quota.code}"


def _key(quota: Quota) -> tuple[str, ...]:
    return (quota.code,)


def _applied(call: Call, quota: Quota) -> Result:
    value = quotas.limit(call.tx, call.caller.account_id, quota, cloud=call.cloud)
    return _shown(call, quota, value, of_account=True)


def _shown(call: Call, quota: Quota, value: int, *, of_account: bool) -> Result:
    return {
        "ServiceCode": quota.service,
        "ServiceName": quotas.SERVICES[quota.service],
        "QuotaArn": arn_of(call, quota, call.caller.account_id if of_account else ""),
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "Value": float(value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": is_global(quota),
        **({"QuotaAppliedAtLevel": "ACCOUNT"} if of_account else {}),
    }
