"""RequestServiceQuotaIncrease, GetRequestedServiceQuotaChange and the lists of what was requested."""

import json

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.servicequotas.quotas import arn_of, is_global, read_page
from stead_controller.errors import NotFound, Unsupported
from stead_controller.resources import quota_requests, quotas
from stead_controller.resources.quota_requests import RequestRow


@operation("RequestServiceQuotaIncrease", service="service-quotas")
def request_service_quota_increase(call: Call, params: Params) -> Result:
    """Ask the operator to increase a quota of the account."""
    if params.get("ContextId"):
        raise Unsupported("Quotas of single resources are not supported.")
    made = quota_requests.ask(
        call.tx,
        call.caller,
        call.cloud,
        quotas.find(params["ServiceCode"], params["QuotaCode"]),
        params["DesiredValue"],
        now=call.now,
        openly=params.get("SupportCaseAllowed", True),
    )
    return {"RequestedQuota": _shown(call, made)}


@operation("GetRequestedServiceQuotaChange", service="service-quotas", writes=False)
def get_requested_service_quota_change(call: Call, params: Params) -> Result:
    """Show the status of a request."""
    return {"RequestedQuota": _shown(call, quota_requests.find(call.tx, call.caller, params["RequestId"]))}


@operation("ListRequestedServiceQuotaChangeHistory", service="service-quotas", writes=False)
def list_requested_service_quota_change_history(call: Call, params: Params) -> Result:
    """List an account's requests, optionally only for one service."""
    service = params.get("ServiceCode")
    if service is not None and service not in quotas.SERVICES:
        raise NotFound("quota", [service])
    return _listed(call, params, "ListRequestedServiceQuotaChangeHistory", service=service, code=None)


@operation("ListRequestedServiceQuotaChangeHistoryByQuota", service="service-quotas", writes=False)
def list_requested_service_quota_change_history_by_quota(call: Call, params: Params) -> Result:
    """List an account's requests for one quota."""
    quota = quotas.find(params["ServiceCode"], params["QuotaCode"])
    name = "ListRequestedServiceQuotaChangeHistoryByQuota"
    return _listed(call, params, name, service=quota.service, code=quota.code)


def _listed(call: Call, params: Params, name: str, *, service: str | None, code: str | None) -> Result:
    page = read_page(call, params, name)
    found: list[RequestRow] = []
    if params.get("QuotaRequestedAtLevel", "ACCOUNT") != "RESOURCE":
        found = quota_requests.of_account(
            call.tx, call.caller, call.now, service=service, code=code, status=params.get("Status")
        )
    numbered = list(enumerate(found, 1))
    after = int(page.after[0]) if page.after else 0
    shown, token = page.cut(numbered[after:], lambda row: (str(row[0]),))
    return {"RequestedQuotas": [_shown(call, row) for _, row in shown], "NextToken": token}


def _shown(call: Call, row: RequestRow) -> Result:
    quota = quotas.find(row.service, row.code)
    return {
        "Id": row.id,
        "ServiceCode": quota.service,
        "ServiceName": quotas.SERVICES[quota.service],
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "DesiredValue": float(row.desired),
        "Status": row.status,
        "Created": row.created,
        "LastUpdated": row.updated,
        "Requester": json.dumps({"accountId": row.account_id, "callerArn": row.requester}, separators=(",", ":")),
        "QuotaArn": arn_of(call, quota, row.account_id),
        "GlobalQuota": is_global(quota),
        "Unit": "None",
        "QuotaRequestedAtLevel": "ACCOUNT",
    }
