"""Services that Stead has not: whatever wire their clients speak, the answer says so, and not that keys are wrong."""

import pytest

from tests.api.identity import refused


@pytest.fixture(scope="module")
def account(cloud):
    return cloud.new_account()


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("logs", "describe_log_groups"),  # JSON, named by X-Amz-Target
        ("lambda", "list_functions"),  # REST with JSON
        ("rds", "describe_db_instances"),  # query
        ("sqs", "list_queues"),
        ("route53", "list_hosted_zones"),  # REST with XML
    ],
)
def test_a_service_that_is_not_there_says_so(account, service, operation):
    client = account.client(service)
    said = refused("UnsupportedOperation", getattr(client, operation))
    assert said == f"The service {client.meta.service_model.signing_name} is not supported by this cloud."
