"""Every operation has an authorization rule, and every rule is of an operation that AWS has."""

import botocore.session
import pytest

from stead_controller.aws import operations
from stead_controller.aws.authorization.table import RULES
from stead_controller.aws.call import OPERATIONS

operations.load()


def test_every_operation_has_a_rule():
    without = sorted(f"{service}:{name}" for service, name in set(OPERATIONS) - set(RULES))
    assert not without, f"add a line to aws/authorization/rules/<noun>.py (see controller/README.md) for: {without}"


@pytest.mark.parametrize("service", sorted({service for service, _ in RULES}))
def test_every_rule_is_of_an_operation_of_aws(service):
    model = botocore.session.get_session().get_service_model(service)
    assert sorted({name for of, name in RULES if of == service} - set(model.operation_names)) == []
