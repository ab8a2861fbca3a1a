"""What each of our errors is called on the wire."""

import logging
from typing import Any

import pytest

from stead_controller import errors
from stead_controller.aws import absences
from stead_controller.aws.errors import translate
from stead_controller.aws.protocol import codec_for
from stead_controller.aws.protocol.codec import Wire
from stead_controller.aws.signature import Reason, Refused
from stead_controller.catalog.nouns import OF_PREFIX, Noun


def answers(error: Exception, service: str = "ec2") -> tuple[str, int]:
    wire = translate(error, service, "R-1", codec_for(service).wire)
    return wire.code, wire.status


@pytest.mark.parametrize("noun", OF_PREFIX.values(), ids=lambda noun: noun.type)
def test_every_kind_with_ids_has_its_codes(noun: Noun) -> None:
    assert noun.absent
    assert noun.malformed
    assert answers(errors.NotFound(noun.type, "x")) == (noun.absent, 400)
    assert answers(errors.MalformedId(noun.type, "x")) == (noun.malformed, 400)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (errors.NotFound("instance", "i-1"), "InvalidInstanceID.NotFound", 400),
        (errors.NotFound("elastic-ip", "eipalloc-1"), "InvalidAllocationID.NotFound", 400),
        (errors.NotFound("something new", "x"), "InvalidParameterValue", 400),
        (errors.NotFound("instance", "i-1", code="Other.NotFound"), "Other.NotFound", 400),
        (errors.MalformedId("image", "ami"), "InvalidAMIID.Malformed", 400),
        (errors.MalformedId("volume", "vol"), "InvalidParameterValue", 400),
        (errors.MalformedId("something new", "x"), "InvalidID", 400),
        (errors.AlreadyExists("key-pair", "taken"), "InvalidKeyPair.Duplicate", 400),
        (errors.AlreadyExists("internet-gateway", "taken"), "Resource.AlreadyAssociated", 400),
        (errors.WrongState("instance", "pending"), "IncorrectInstanceState", 400),
        (errors.WrongState("volume", "creating"), "IncorrectState", 400),
        (errors.InUse("in use"), "DependencyViolation", 400),
        (errors.InUse("in use", code="VolumeInUse"), "VolumeInUse", 400),
        (errors.LimitExceeded("too many"), "ResourceLimitExceeded", 400),
        (errors.LimitExceeded("too many", code="InstanceLimitExceeded"), "InstanceLimitExceeded", 400),
        (errors.NoCapacity("full"), "InsufficientInstanceCapacity", 500),
        (errors.NoCapacity("full", code="InsufficientFreeAddressesInSubnet"), "InsufficientFreeAddressesInSubnet", 400),
        (errors.IdempotencyMismatch("other"), "IdempotentParameterMismatch", 400),
        (errors.NotAuthorized("no"), "UnauthorizedOperation", 403),
        (errors.NotAuthenticated("no"), "AuthFailure", 401),
        (errors.MissingParameter("X"), "MissingParameter", 400),
        (errors.UnknownParameter("X"), "UnknownParameter", 400),
        (errors.InvalidParameter("X"), "InvalidParameterValue", 400),
        (errors.InvalidCombination("X"), "InvalidParameterCombination", 400),
        (errors.Unsupported("X"), "UnsupportedOperation", 400),
        (errors.BadRequest("X"), "InvalidParameterValue", 400),
        (errors.BadRequest("X", code="RequestEntityTooLarge"), "RequestEntityTooLarge", 413),
        (errors.SteadError("X"), "InvalidRequest", 400),
        (errors.SteadError("X", code="DryRunOperation"), "DryRunOperation", 412),
    ],
)
def test_ec2(error: errors.SteadError, code: str, status: int) -> None:
    assert answers(error) == (code, status)
    assert translate(error, "ec2", "R-1", Wire.EC2).message == absences.in_words(error)
    assert translate(error, "iam", "R-1", Wire.QUERY).message == error.message


@pytest.mark.parametrize(
    ("service", "error", "code", "status"),
    [
        ("iam", errors.NotFound("user", "u"), "NoSuchEntity", 404),
        ("iam", errors.AlreadyExists("user", "taken"), "EntityAlreadyExists", 409),
        ("iam", errors.InUse("in use"), "DeleteConflict", 409),
        ("iam", errors.LimitExceeded("too many"), "LimitExceeded", 409),
        ("sts", errors.NotAuthorized("no"), "AccessDenied", 403),
        ("sts", errors.InvalidParameter("x"), "ValidationError", 400),
        ("autoscaling", errors.AlreadyExists("group", "taken"), "AlreadyExists", 400),
        ("cloudwatch", errors.NotFound("alarm", "a"), "ResourceNotFound", 404),
        ("ebs", errors.NotFound("snapshot", "snap-1"), "ResourceNotFoundException", 404),
        ("ebs", errors.MissingParameter("BlockData"), "ValidationException", 400),
        ("dlm", errors.LimitExceeded("too many"), "LimitExceededException", 429),
        ("sns", errors.InvalidParameter("x"), "InvalidParameter", 400),
        ("sns", errors.NotFound("topic", "t"), "NotFound", 404),
        ("sns", errors.NotAuthorized("no"), "AuthorizationError", 403),
        ("sns", errors.TooManyRequests(), "Throttled", 429),
    ],
)
def test_other_services(service: str, error: errors.SteadError, code: str, status: int) -> None:
    assert answers(error, service) == (code, status)


@pytest.mark.parametrize("reason", Reason)
def test_every_refused_signature_has_a_code(reason: Reason) -> None:
    for service in ("ec2", "sts", "ebs"):
        code, status = answers(Refused(reason, "why"), service)
        assert code
        assert 400 <= status < 500


def test_ec2_has_one_error_for_a_wrong_key_and_a_wrong_signature() -> None:
    unknown = translate(Refused(Reason.UNKNOWN_KEY, "unknown"), "ec2", "R-1", Wire.EC2)
    assert unknown == translate(Refused(Reason.MISMATCH, "mismatch"), "ec2", "R-1", Wire.EC2)


def test_internal_errors_are_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    fault: Any = ValueError("the database password is 1234")
    with caplog.at_level(logging.ERROR):
        wire = translate(fault, "ec2", "R-1", Wire.EC2)
    assert (wire.code, wire.status) == ("InternalError", 500)
    assert "1234" not in wire.message
    assert "R-1" in wire.message
    assert "1234" in caplog.text
    assert caplog.records[0].__dict__["request_id"] == "R-1"


@pytest.mark.parametrize(
    "service",
    ["ec2", "iam", "sts", "ebs", "dlm", "cloudtrail", "service-quotas", "sns", "ssm", "ce", "budgets", "pricing"],
)
def test_a_full_disk_and_a_database_that_is_away_are_the_same_to_every_service(service: str) -> None:
    for failure, said in ((errors.OutOfRoom(), "full"), (errors.Unavailable(), "does not answer")):
        error = translate(failure, service, "r-1", Wire.EC2)
        assert (error.code, error.status) == ("ServiceUnavailable", 503)
        assert said in error.message
