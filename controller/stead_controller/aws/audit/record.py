"""Makes an AuditEvent of a call: CloudTrail's record as JSON, and the values by which LookupEvents finds it.

See https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html.
"""

import json
import uuid
from datetime import datetime
from typing import Any, Final

from stead_controller.audit.stored_events import AuditEvent
from stead_controller.aws.audit.elements import request_parameters, response_elements
from stead_controller.aws.audit.touched import touched
from stead_controller.aws.call_record import CallRecord
from stead_controller.aws.protocol.models import SERVICES, load_service
from stead_controller.request.caller import Caller, Session

_READING: Final = ("Describe", "Get", "List", "Search", "Lookup", "Head", "Simulate", "Assume", "Decode", "Batch")
# Reads whose answer CloudTrail shows nevertheless: they return credentials.
_SHOWN_READS: Final = frozenset({"AssumeRole", "AssumeRoleWithWebIdentity", "GetSessionToken", "GetFederationToken"})
# Calls that read and write contents are data events: there are many, and LookupEvents does not show them.
_DATA_SERVICE: Final = "ebs"
_METRICS: Final = frozenset({("cloudwatch", "GetMetricData"), ("cloudwatch", "PutMetricData")})
_S3: Final = "s3"  # has no model here: its calls are recognized by the names of bucket and key
_S3_DATA: Final = ("Object", "Upload", "ListParts")
_S3_NAMES: Final = {"Bucket": "bucketName", "Key": "key"}
# Operations whose events have another name, which is usually that of the action.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html
_S3_EVENTS: Final = {
    "DeletePublicAccessBlock": "DeleteBucketPublicAccessBlock",
    "GetBucketLifecycleConfiguration": "GetBucketLifecycle",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "ListObjectsV2": "ListObjects",
    "PutBucketLifecycleConfiguration": "PutBucketLifecycle",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
_SHARED: Final = uuid.UUID("5e2f9d0c-6d0e-4f6e-9a59-1d3f0a1b7c44")
_MOST_TEXT: Final = 1024  # maximum length of text that a client says about itself
_KINDS: Final = {"root": "Root", "user": "IAMUser", "role": "AssumedRole", "federated": "FederatedUser"}
_MOST_BYTES: Final = 256 << 10
_VERSION: Final = "1.11"


def draw(call: CallRecord, region: str) -> AuditEvent:
    """Return the record of a call; never raises for anything that a client may send."""
    service, name = call.service, call.operation or "Unknown"
    if service == _S3:
        name = _S3_EVENTS.get(name, name)
    read_only = name.startswith(_READING)
    parameters = elements = None
    is_data = (
        service == _DATA_SERVICE
        or (service, name) in _METRICS
        or (service == _S3 and any(word in name for word in _S3_DATA))
    )
    if service == _S3:
        parameters = {_S3_NAMES.get(key, key): value for key, value in call.params.items()} or None
        elements = call.result if not read_only else None
    elif service in SERVICES and name in load_service(service).operation_names:
        parameters = request_parameters(service, name, call.params)
        if call.result is not None and (not read_only or name in _SHOWN_READS):
            elements = response_elements(service, name, call.result)
    names = touched(service, call.params, None if read_only else call.result)
    account_id = call.owner_id if call.is_owners else call.caller.account_id if call.caller else ""
    prefix = load_service(service).model.metadata["endpointPrefix"] if service in SERVICES else service
    source = f"{prefix.lower().replace(' ', '')}.amazonaws.com"
    event: dict[str, Any] = {
        "eventVersion": _VERSION,
        "userIdentity": _identity(call),
        "eventTime": _time(call.time),
        "eventSource": source,
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": call.source_ip,
        "userAgent": call.user_agent[:_MOST_TEXT],
        **_error(call),
        "requestParameters": parameters,
        "responseElements": elements,
        **({"additionalEventData": dict(call.additional)} if call.additional else {}),
        "requestID": call.request_id,
        "eventID": call.event_id,
        "readOnly": read_only,
        "resources": [*({"type": kind, "ARN": one} for kind, one in names if one.startswith("arn:")), *_bucket(call)],
        "eventType": "AwsApiCall",
        "managementEvent": not is_data,
        "recipientAccountId": account_id,
        **_shared(call),
        **({"vpcEndpointId": call.endpoint_id} if call.endpoint_id else {}),
        "eventCategory": "Data" if is_data else "Management",
    }
    return AuditEvent(
        event_id=call.event_id,
        account_id="" if is_data else account_id,
        time=call.time,
        name=name,
        source=source,
        user_name="" if call.is_owners else _user_name(call.caller),
        access_key_id="" if call.is_owners else call.access_key_id,
        read_only=read_only,
        resources=tuple(names),
        text=_json(event),
        is_data=is_data,
    )


def _identity(call: CallRecord) -> dict[str, Any]:
    caller = call.caller
    if caller is None:
        if not call.access_key_id:  # an unsigned request
            return {"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"}
        return {"type": "Unknown", "accessKeyId": call.access_key_id}
    if call.is_owners:
        return {"type": "AWSAccount", "principalId": caller.user_id, "accountId": caller.account_id}
    identity: dict[str, Any] = {
        "type": _KINDS[caller.kind],
        "principalId": caller.user_id,
        "arn": caller.arn,
        "accountId": caller.account_id,
        "accessKeyId": caller.access_key_id,
    }
    if caller.user_name:
        identity["userName"] = caller.user_name
    if caller.session is not None:
        identity["sessionContext"] = _session(caller, caller.session)
    return identity


def _shared(call: CallRecord) -> dict[str, str]:
    """Return the fields that two accounts' records of one call share."""
    if not call.is_owners and call.of_owner() is None:
        return {}
    return {"sharedEventID": str(uuid.uuid5(_SHARED, call.request_id))}


def _bucket(call: CallRecord) -> list[dict[str, str]]:
    """Return the bucket that was used, with the account that pays for it."""
    name = call.params.get("Bucket") if call.service == _S3 and call.owner_id else None
    return [{"accountId": call.owner_id, "type": "AWS::S3::Bucket", "ARN": f"arn:aws:s3:::{name}"}] if name else []


def _session(caller: Caller, session: Session) -> dict[str, Any]:
    context: dict[str, Any] = {
        "attributes": {
            "creationDate": _time(session.issued),
            "mfaAuthenticated": "true" if session.mfa else "false",
        }
    }
    if caller.kind == "role":
        context["sessionIssuer"] = {
            "type": "Role",
            "principalId": caller.principal_id,
            "arn": caller.principal_arn,
            "accountId": caller.account_id,
            "userName": caller.principal_arn.rpartition("/")[2],
        }
    if session.source_identity:
        context["sourceIdentity"] = session.source_identity
    if session.origin is not None:
        context["ec2RoleDelivery"] = session.origin.delivery
    return context


def _user_name(caller: Caller | None) -> str:
    """Return LookupEvents' user name: a session's name if there is one."""
    if caller is None:
        return ""
    if caller.kind in ("role", "federated") and caller.session is not None:
        return caller.session.name
    return caller.user_name or "root"


def _error(call: CallRecord) -> dict[str, str]:
    if call.error_code is None:
        return {}
    fault = "Server" if call.status >= 500 else "Client"
    code = f"{fault}.{call.error_code}" if call.service == "ec2" else call.error_code
    return {"errorCode": code, "errorMessage": (call.error_message or "")[:_MOST_TEXT]}


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(event: dict[str, Any]) -> str:
    text = json.dumps(event, separators=(",", ":"))
    for name in ("responseElements", "requestParameters"):
        if len(text) <= _MOST_BYTES:
            break
        event[name] = {"omitted": True, "originalSize": len(text), "reason": "the record is larger than 256 KiB"}
        text = json.dumps(event, separators=(",", ":"))
    return text
