"""One table that maps Stead's errors to AWS codes and HTTP statuses.

The codes are EC2's published ones
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html), those of one kind of resource are in
`catalog/nouns.py`; where other services use another code for the same error, it is in `_SERVICE_CODES`. An error's own
`code` takes precedence over all tables.
"""

import logging
from typing import Final

from stead_controller import errors
from stead_controller.aws import absences
from stead_controller.aws.protocol.codec import Wire, WireError
from stead_controller.aws.signature import Reason, Refused
from stead_controller.catalog.nouns import OF_TYPE

log = logging.getLogger(__name__)

# From the most specific class to the most general, with EC2's code and the HTTP status.
_CLASSES: Final[tuple[tuple[type[errors.SteadError], str, int], ...]] = (
    (errors.MissingParameter, "MissingParameter", 400),
    (errors.UnknownParameter, "UnknownParameter", 400),
    (errors.InvalidParameter, "InvalidParameterValue", 400),
    (errors.InvalidCombination, "InvalidParameterCombination", 400),
    (errors.Unsupported, "UnsupportedOperation", 400),
    (errors.MalformedId, "InvalidID", 400),
    (errors.NotFound, "InvalidParameterValue", 400),
    (errors.AlreadyExists, "Resource.AlreadyAssociated", 400),
    (errors.WrongState, "IncorrectState", 400),
    (errors.InUse, "DependencyViolation", 400),
    (errors.LimitExceeded, "ResourceLimitExceeded", 400),
    (errors.TooManyRequests, "RequestLimitExceeded", 503),
    (errors.NoCapacity, "InsufficientInstanceCapacity", 500),
    (errors.IdempotencyMismatch, "IdempotentParameterMismatch", 400),
    (errors.NotAuthorized, "UnauthorizedOperation", 403),
    (errors.NotAuthenticated, "AuthFailure", 401),
    (errors.BadRequest, "InvalidParameterValue", 400),
)

# Statuses of codes, if they are not 400.
_STATUSES: Final[dict[str, int]] = {
    "AccessDenied": 403,
    "AccessDeniedException": 403,
    "AuthFailure": 401,
    "ConflictException": 409,
    "DeleteConflict": 409,
    "DryRunOperation": 412,
    "EntityAlreadyExists": 409,
    "ExpiredToken": 403,
    "InsufficientAddressCapacity": 500,
    "InsufficientCapacity": 500,
    "InsufficientHostCapacity": 500,
    "InsufficientInstanceCapacity": 500,
    "InsufficientVolumeCapacity": 500,
    "InternalError": 500,
    "InvalidAuthenticationCode": 403,
    "AuthorizationError": 403,
    "InvalidClientTokenId": 403,
    "LimitExceeded": 409,
    "LimitExceededException": 429,
    "MissingAuthenticationToken": 403,
    "NoSuchEntity": 404,
    "NotFound": 404,
    "ReportExpired": 410,
    "ReportNotPresent": 410,
    "RequestEntityTooLarge": 413,
    "RequestLimitExceeded": 503,
    "RequestTimeout": 408,
    "ResourceNotFound": 404,
    "ResourceNotFoundException": 404,
    "ServiceQuotaExceededException": 402,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "RequestThrottledException": 400,
    "Throttling": 400,
    "ThrottlingException": 400,
    "Unavailable": 503,
    "SubscriptionLimitExceeded": 403,
    "TopicLimitExceeded": 403,
    "UnauthorizedOperation": 403,
    "UnknownOperationException": 404,
}

_SERVICE_STATUSES: Final[dict[tuple[str, str], int]] = {
    ("autoscaling", "LimitExceeded"): 400,
    ("cloudwatch", "LimitExceeded"): 400,
    ("cloudwatch", "DashboardNotFoundError"): 404,
    ("sns", "Throttled"): 429,
    ("ce", "LimitExceededException"): 400,
    ("budgets", "ServiceQuotaExceededException"): 400,
}

_INVALID: Final = (
    errors.MissingParameter,
    errors.UnknownParameter,
    errors.InvalidParameter,
    errors.InvalidCombination,
    errors.MalformedId,
)
# The codes of services other than EC2 for the same error; `*` stands for all of them.
_SERVICE_CODES: Final[dict[tuple[str, type[errors.SteadError]], str]] = {
    **{("*", kind): "ValidationError" for kind in _INVALID},
    ("*", errors.NotFound): "ValidationError",
    ("*", errors.AlreadyExists): "AlreadyExists",
    ("*", errors.LimitExceeded): "LimitExceeded",
    ("*", errors.NotAuthorized): "AccessDenied",
    ("*", errors.TooManyRequests): "ThrottlingException",
    ("iam", errors.TooManyRequests): "Throttling",
    ("sts", errors.TooManyRequests): "Throttling",
    ("ebs", errors.TooManyRequests): "RequestThrottledException",
    ("iam", errors.NotFound): "NoSuchEntity",
    ("iam", errors.AlreadyExists): "EntityAlreadyExists",
    ("iam", errors.InUse): "DeleteConflict",
    ("autoscaling", errors.InUse): "ResourceInUse",
    ("autoscaling", errors.WrongState): "ValidationError",
    ("autoscaling", errors.BadRequest): "ValidationError",
    ("autoscaling", errors.TooManyRequests): "Throttling",
    ("cloudwatch", errors.NotFound): "ResourceNotFound",
    ("cloudwatch", errors.TooManyRequests): "Throttling",
    **{("ebs", kind): "ValidationException" for kind in _INVALID},
    ("ebs", errors.NotFound): "ResourceNotFoundException",
    **{("ebs", kind): "ValidationException" for kind in (errors.WrongState, errors.BadRequest)},
    ("ebs", errors.IdempotencyMismatch): "ConflictException",
    ("ebs", errors.LimitExceeded): "ServiceQuotaExceededException",
    ("ebs", errors.NotAuthorized): "AccessDeniedException",
    **{("dlm", kind): "InvalidRequestException" for kind in (*_INVALID, errors.Unsupported, errors.BadRequest)},
    ("dlm", errors.NotFound): "ResourceNotFoundException",
    ("dlm", errors.LimitExceeded): "LimitExceededException",
    ("dlm", errors.NotAuthorized): "AccessDeniedException",
    **{("cloudtrail", kind): "ValidationException" for kind in _INVALID},
    ("cloudtrail", errors.NotAuthorized): "AccessDeniedException",
    **{("ssm", kind): "ValidationException" for kind in (*_INVALID, errors.BadRequest)},
    ("ssm", errors.NotAuthorized): "AccessDeniedException",
    **{("ec2-instance-connect", kind): "InvalidArgsException" for kind in (*_INVALID, errors.BadRequest)},
    ("ec2-instance-connect", errors.NotFound): "EC2InstanceNotFoundException",
    ("ec2-instance-connect", errors.WrongState): "EC2InstanceStateInvalidException",
    ("ec2-instance-connect", errors.NotAuthorized): "AccessDeniedException",
    **{("service-quotas", kind): "IllegalArgumentException" for kind in (*_INVALID, errors.BadRequest)},
    ("service-quotas", errors.NotFound): "NoSuchResourceException",
    ("service-quotas", errors.NotAuthorized): "AccessDeniedException",
    ("service-quotas", errors.TooManyRequests): "TooManyRequestsException",
    **{("ce", kind): "ValidationException" for kind in (*_INVALID, errors.BadRequest)},
    **{("budgets", kind): "InvalidParameterException" for kind in (*_INVALID, errors.BadRequest)},
    ("budgets", errors.NotFound): "NotFoundException",
    ("budgets", errors.AlreadyExists): "DuplicateRecordException",
    ("budgets", errors.InUse): "ResourceLockedException",
    ("budgets", errors.LimitExceeded): "CreationLimitExceededException",
    ("budgets", errors.NotAuthorized): "AccessDeniedException",
    **{("bcm-data-exports", kind): "ValidationException" for kind in (*_INVALID, errors.BadRequest)},
    ("bcm-data-exports", errors.NotFound): "ResourceNotFoundException",
    ("bcm-data-exports", errors.LimitExceeded): "ServiceQuotaExceededException",
    ("bcm-data-exports", errors.NotAuthorized): "AccessDeniedException",
    ("ce", errors.NotAuthorized): "AccessDeniedException",
    ("ce", errors.LimitExceeded): "LimitExceededException",
    **{("pricing", kind): "InvalidParameterException" for kind in (*_INVALID, errors.BadRequest)},
    ("pricing", errors.NotFound): "NotFoundException",
    ("pricing", errors.NotAuthorized): "AccessDeniedException",
    **{("sns", kind): "InvalidParameter" for kind in (*_INVALID, errors.BadRequest)},
    ("sns", errors.NotFound): "NotFound",
    ("sns", errors.NotAuthorized): "AuthorizationError",
    ("sns", errors.TooManyRequests): "Throttled",
}
_FAULTS: Final = {
    "ec2": "InternalError",
    "ebs": "InternalServerException",
    "dlm": "InternalServerException",
    "ssm": "InternalServerError",
    "ec2-instance-connect": "ServiceException",
    "pricing": "InternalErrorException",
    "sns": "InternalError",
    "budgets": "InternalErrorException",
    "bcm-data-exports": "InternalServerException",
}
# Codes of errors that carry EC2's, where a service has its own word for them.
_RENAMED: Final[dict[tuple[str, str], str]] = {
    ("ec2-instance-connect", "InvalidKey.Format"): "InvalidArgsException",
    ("ec2-instance-connect", "Unavailable"): "EC2InstanceUnavailableException",
}

_EC2_FAILURE: Final = "AWS was not able to validate the provided access credentials"
# A reason's code, its message if ours reveals too much, and its status.
_EC2_REFUSALS: Final[dict[Reason, tuple[str, str | None, int]]] = {
    Reason.MISSING: ("MissingAuthenticationToken", None, 403),
    Reason.INCOMPLETE: ("IncompleteSignature", None, 400),
    Reason.UNKNOWN_KEY: ("AuthFailure", _EC2_FAILURE, 401),
    Reason.MISMATCH: ("AuthFailure", _EC2_FAILURE, 401),
    Reason.REGION: ("AuthFailure", None, 401),
    Reason.SERVICE: ("AuthFailure", None, 401),
    Reason.EXPIRED: ("RequestExpired", "Request has expired.", 400),
    Reason.TOKEN_EXPIRED: ("RequestExpired", "Request has expired.", 400),
}
_QUERY_REFUSALS: Final[dict[Reason, tuple[str, str | None, int]]] = {
    Reason.MISSING: ("MissingAuthenticationToken", None, 403),
    Reason.INCOMPLETE: ("IncompleteSignature", None, 400),
    Reason.UNKNOWN_KEY: ("InvalidClientTokenId", None, 403),
    Reason.MISMATCH: ("SignatureDoesNotMatch", None, 403),
    Reason.REGION: ("SignatureDoesNotMatch", None, 403),
    Reason.SERVICE: ("SignatureDoesNotMatch", None, 403),
    Reason.EXPIRED: ("SignatureDoesNotMatch", None, 403),
    Reason.TOKEN_EXPIRED: ("ExpiredToken", None, 403),
}
_JSON_REFUSALS: Final[dict[Reason, tuple[str, str | None, int]]] = {
    Reason.MISSING: ("MissingAuthenticationTokenException", None, 403),
    Reason.INCOMPLETE: ("IncompleteSignatureException", None, 403),
    Reason.UNKNOWN_KEY: ("UnrecognizedClientException", None, 403),
    Reason.MISMATCH: ("InvalidSignatureException", None, 403),
    Reason.REGION: ("InvalidSignatureException", None, 403),
    Reason.SERVICE: ("InvalidSignatureException", None, 403),
    Reason.EXPIRED: ("InvalidSignatureException", None, 403),
    Reason.TOKEN_EXPIRED: ("ExpiredTokenException", None, 403),
}
# For requests to S3 without an object store; if there is one, it answers itself.
_S3_REFUSALS: Final[dict[Reason, tuple[str, str | None, int]]] = {
    Reason.MISSING: ("AccessDenied", "Access Denied", 403),
    Reason.INCOMPLETE: ("AuthorizationHeaderMalformed", None, 400),
    Reason.UNKNOWN_KEY: ("InvalidAccessKeyId", None, 403),
    Reason.MISMATCH: ("SignatureDoesNotMatch", None, 403),
    Reason.REGION: ("AuthorizationHeaderMalformed", None, 400),
    Reason.SERVICE: ("AuthorizationHeaderMalformed", None, 400),
    Reason.EXPIRED: ("RequestTimeTooSkewed", None, 403),
    Reason.TOKEN_EXPIRED: ("ExpiredToken", None, 400),
}
_REFUSALS: Final = {
    Wire.EC2: _EC2_REFUSALS,
    Wire.QUERY: _QUERY_REFUSALS,
    Wire.REST_XML: _QUERY_REFUSALS,
    Wire.S3: _S3_REFUSALS,
    Wire.JSON: _JSON_REFUSALS,
    Wire.REST_JSON: _JSON_REFUSALS,
    Wire.CBOR: _JSON_REFUSALS,
}


def translate(error: Exception, service: str, request_id: str, wire: Wire) -> WireError:
    """Translate an error to the service's code and message, or to those of the protocol if the service was not reached.

    An unexpected error is an internal error: it is logged with its traceback, and the caller only gets the request id
    under which it is logged.
    """
    if isinstance(error, Refused):
        code, message, status = _REFUSALS[wire][error.reason]
        return WireError(code, message or error.message, status)
    if isinstance(error, errors.SteadError):
        code, status = _code_and_status(error, service)
        return WireError(code, absences.in_words(error) if service == "ec2" else error.message, status)
    log.error("request_failed", exc_info=error, extra={"request_id": request_id, "service": service})
    message = f"An internal error has occurred. Its request id is {request_id}"
    return WireError(_FAULTS.get(service, "InternalFailure"), message, 500)


def _code_and_status(error: errors.SteadError, service: str) -> tuple[str, int]:
    kind, general, status = next(
        (entry for entry in _CLASSES if isinstance(error, entry[0])),
        (errors.SteadError, "InvalidRequest", 400),
    )
    if error.code:
        code = _RENAMED.get((service, error.code), error.code)
        return code, _SERVICE_STATUSES.get((service, code)) or _STATUSES.get(code, 400)
    if service == "ec2":
        code = _ec2_code(error) or general
    else:
        code = _SERVICE_CODES.get((service, kind)) or _SERVICE_CODES.get(("*", kind)) or general
    return code, _SERVICE_STATUSES.get((service, code)) or _STATUSES.get(code, status)


def _ec2_code(error: errors.SteadError) -> str | None:
    noun = OF_TYPE.get(getattr(error, "resource_type", ""))
    if noun is None:
        return None
    match error:
        case errors.NotFound():
            return noun.absent
        case errors.MalformedId():
            return noun.malformed
        case errors.AlreadyExists():
            return noun.duplicate
        case errors.WrongState():
            return noun.wrong_state
    return None
