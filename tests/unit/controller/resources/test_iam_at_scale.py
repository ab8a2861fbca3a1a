"""However much IAM keeps, a look-up or a page reads by indexes what it shows, and nothing else."""

import pytest
from sqlalchemy import event, insert

from stead_controller.db.session import Database
from stead_controller.db.tables import (
    IamAttachedPolicy,
    IamGroup,
    IamGroupMember,
    IamPolicy,
    IamPolicyVersion,
    IamRole,
    IamTag,
    IamUser,
)
from stead_controller.resources.iam import (
    access_keys,
    account_details,
    account_settings,
    accounts,
    attached_policies,
    groups,
    instance_profiles,
    policies,
    policies_of_caller,
    roles,
    users,
)
from stead_controller.resources.iam.list_pages import Slice
from stead_controller.secrets.sealing import no_sealer
from tests.support import rows

USERS = 2000
PAGE = Slice(11)
TRUST = (
    '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},'
    '"Action":"sts:AssumeRole"}}'
)
DOCUMENT = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}'


def named(kind, prefix, account_id, number, **more):
    name = f"{kind}{number:05}"
    known = {"id": f"{prefix}{number:017}", "account_id": account_id, "name": name, "name_lower": name}
    return {**known, "path": "/", "created": rows.NOW, **more}


def fill(tx, account_id):
    """Users who are all in a group and have a policy; roles, policies, tags."""
    numbers = range(USERS)
    plain = {"password_reset_required": False}
    role = {"trust_policy": TRUST, "max_session_duration": 3600, "description": ""}
    policy = {"updated": rows.NOW, "description": "", "default_version": 1, "last_version": 1}
    arn = f"arn:aws:iam::{account_id}:policy/policy00007"
    tables = (
        (IamUser, [named("user", "AIDA", account_id, number, **plain) for number in numbers]),
        (IamGroup, [named("group", "AGPA", account_id, number) for number in range(300)]),
        (IamRole, [named("role", "AROA", account_id, number, **role) for number in range(1000)]),
        (IamPolicy, [named("policy", "ANPA", account_id, number, **policy) for number in range(1000)]),
        (
            IamPolicyVersion,
            [
                {"policy_id": f"ANPA{number:017}", "number": 1, "document": DOCUMENT, "created": rows.NOW}
                for number in range(1000)
            ],
        ),
        (IamGroupMember, [{"group_id": f"AGPA{7:017}", "user_id": f"AIDA{number:017}"} for number in numbers]),
        (
            IamAttachedPolicy,
            [
                {
                    "principal_id": f"AIDA{number:017}",
                    "policy_arn": arn,
                    "policy_id": f"ANPA{7:017}",
                    "principal_type": "user",
                    "account_id": account_id,
                }
                for number in numbers
            ],
        ),
        (
            IamTag,
            [{"resource_id": f"AIDA{number:017}", "key_lower": "k", "key": "k", "value": "v"} for number in numbers],
        ),
    )
    for table, values in tables:
        tx.session.execute(insert(table), values)
    return arn


CALLS = {
    "GetUser": lambda tx, caller, arn: users.get(tx, caller, "user00500"),
    "ListUsers": lambda tx, caller, arn: users.search(tx, caller, PAGE),
    "ListUsers, later": lambda tx, caller, arn: users.search(tx, caller, Slice(11, ("user01500",))),
    "ListUsers, path": lambda tx, caller, arn: users.search(tx, caller, Slice(11, None, "/none/")),
    "ListRoles": lambda tx, caller, arn: roles.search(tx, caller, PAGE),
    "GetGroup": lambda tx, caller, arn: groups.members(tx, caller, "group00007", PAGE),
    "ListGroupsForUser": lambda tx, caller, arn: groups.of_user(tx, caller, "user00500", PAGE),
    "ListInstanceProfilesForRole": lambda tx, caller, arn: instance_profiles.of_role(tx, caller, "role00007", PAGE),
    "GetPolicy": policies.get,
    "ListPolicies": lambda tx, caller, arn: policies.search(tx, caller, policies.Search(), PAGE),
    "ListAccessKeys": lambda tx, caller, arn: access_keys.of_user(tx, caller, "user00500"),
    "GetAccountSummary": lambda tx, caller, arn: account_settings.summary(tx, caller),
    "GetAccountAuthorizationDetails": lambda tx, caller, arn: account_details.search(
        tx, caller, account_details.Kind, PAGE
    ),
    "ListEntitiesForPolicy": lambda tx, caller, arn: attached_policies.entities(
        tx, caller, arn, PAGE, kinds=("user", "role", "group"), usages=("PermissionsPolicy", "PermissionsBoundary")
    ),
    "what binds a user": lambda tx, caller, arn: policies_of_caller.of_principal(tx, f"AIDA{500:017}"),
    "a key": lambda tx, caller, arn: accounts.open_key(tx, no_sealer(), "AKIAABSENT"),
}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory, empty_database_file):
    """A database with a crowd, a caller, and a policy that all users have."""
    path = tmp_path_factory.mktemp("iam") / "stead.sqlite"
    path.write_bytes(empty_database_file)
    database = Database(f"sqlite:///{path}")
    world = database.run_blocking(rows.build_world)
    caller = world.one.caller
    arn = database.run_blocking(lambda tx: fill(tx, caller.account_id))
    yield database, caller, arn
    database.close()


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_scanned(crowded, name):
    database, caller, arn = crowded
    seen = []

    def note(_connection, _cursor, statement, parameters, *_rest):
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        database.run_blocking(lambda tx: CALLS[name](tx, caller, arn), writes=False)
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    assert 0 < len(seen) <= 30
    with database.engine.connect() as connection:
        for statement, parameters in seen:
            steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            assert not [step for step in steps if step.startswith("SCAN ") and "CONSTANT ROW" not in step], statement


def test_pages_of_any_size_are_the_whole_list(crowded):
    database, caller, arn = crowded
    kinds = {"kinds": ("user", "role", "group"), "usages": ("PermissionsPolicy",)}
    for size in (1, 7, 1000):
        found, after = [], None
        while len(found) < 20 or size == 1000:
            part = Slice(size, after)
            page = database.run_blocking(
                lambda tx, part=part: attached_policies.entities(tx, caller, arn, part, **kinds)
            )
            found += [row.id for row in page]
            if len(page) < size:
                break
            after = (page[-1].kind, page[-1].id)
        assert found == [f"AIDA{number:017}" for number in range(len(found))]
        assert size < 1000 or len(found) == USERS
