"""What the authorizer asks of policies, remembers of principals, and for how long."""

import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from stead_controller.authorization.policy_document import parse
from stead_controller.aws.authorization import authorizer
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.aws.authorization.rule import FREE, Asked, Check, Target, rule
from stead_controller.aws.call import Call, Operation
from stead_controller.errors import NotAuthorized
from stead_controller.request.caller import Caller, Session
from stead_controller.resources.iam.policies_of_caller import PrincipalPolicies
from stead_controller.resources.network.vpc_endpoint_access import Via
from tests.support.rows import CLOUD, NOW

POLICY = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}'


def user(number):
    return Caller("111122223333", f"arn:{number}", f"AIDA{number}", "AKIA", "user", principal_id=f"AIDA{number}")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that only the test moves on."""
    made = SimpleNamespace(seconds=100.0)
    made.monotonic = lambda: made.seconds
    monkeypatch.setattr(authorizer, "time", made)
    return made


def test_policies_are_looked_up_once_a_second_and_forgotten_with_time(clock):
    looked = []

    def policies_of(_tx, caller):
        looked.append(caller.user_id)
        return PrincipalPolicies((POLICY,))

    known = PolicyAuthorizer(policies_of)
    for number in range(100):
        known.policies(None, user(number))
    clock.seconds += 0.9
    known.policies(None, user(7))
    assert len(looked) == 100
    clock.seconds += 0.2
    known.policies(None, user(7))
    assert looked[100:] == ["AIDA7"]
    clock.seconds += 10
    known.policies(None, user(7))
    assert list(known._known) == ["AIDA7"]
    for number in range(5):
        known.policies(None, user(number))
    clock.seconds += 2
    known.policies(None, user(5))
    assert len(known._known) == 7  # all are looked through every ten seconds only


def test_what_is_outdated_is_removed_when_ten_seconds_have_passed(clock):
    known = knowing(POLICY)
    known.policies(None, user(1))
    clock.seconds += 9
    known.policies(None, user(2))
    clock.seconds += 1
    known.policies(None, user(3))
    assert list(known._known) == ["AIDA3"]


def test_a_crowd_of_principals_is_forgotten(clock, monkeypatch):
    monkeypatch.setattr(authorizer, "_MOST", 2)
    known = PolicyAuthorizer(lambda _tx, _caller: PrincipalPolicies((POLICY,)))
    for number in range(3):
        known.policies(None, user(number))
    assert list(known._known) == ["AIDA2"]


def test_policies_are_looked_up_again_after_a_change_of_iam(clock):
    looked = []

    def policies_of(_tx, caller):
        looked.append(caller.user_id)
        return PrincipalPolicies((POLICY,))

    known = PolicyAuthorizer(policies_of)
    known.policies(None, user(1))
    for service, error_code in (("ec2", None), ("iam", "AccessDenied")):
        known.note(SimpleNamespace(service=service, error_code=error_code))
        known.policies(None, user(1))
    assert looked == ["AIDA1"]
    known.note(SimpleNamespace(service="iam", error_code=None))
    known.policies(None, user(1))
    assert looked == ["AIDA1", "AIDA1"]
    clock.seconds += 1.0
    known.policies(None, user(1))
    assert len(looked) == 3


def session(**changes):
    return Session("s", NOW, NOW + timedelta(hours=1), **changes)


def document(effect="Allow", action="ec2:*", resource="*", **more):
    statement = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def knowing(*identity, boundary=None):
    return PolicyAuthorizer(lambda _tx, _caller: PrincipalPolicies(identity, boundary))


def test_policies_of_a_session_take_rights_away_of_a_federated_user_always():
    ada = user(1)
    known = knowing(POLICY, boundary=POLICY)
    found = known.policies(None, ada)
    assert (found.identity, found.boundary, found.session) == ((parse(POLICY),), parse(POLICY), None)
    assert known.policies(None, replace(ada, kind="role", session=session())).session is None
    limited = replace(ada, kind="role", session=session(policies=(POLICY,)))
    assert known.policies(None, limited).session == (parse(POLICY),)
    assert known.policies(None, replace(ada, kind="federated", session=session())).session == ()
    assert knowing(POLICY).policies(None, ada).boundary is None


ROOT = Caller("111122223333", "arn:aws:iam::111122223333:root", "111122223333", "AKIA")


def test_nothing_is_looked_up_for_root():
    def policies_of(_tx, _caller):
        raise AssertionError

    known = PolicyAuthorizer(policies_of)
    authorize(known, ROOT, "ec2", "StopInstances")
    authorize(known, ROOT, "ec2", "NoSuchOperation")
    assert known.tags(None, ROOT) == {}
    assert known.policies(None, replace(ROOT, session=session())).session is None


def authorize(known, caller, service, name, via=None, **params):
    call = Call(caller, None, CLOUD, "r", NOW, "192.0.2.1", "agent", via=via)
    known.authorize(call, Operation(service, name, lambda _call, _params: {}, True), params)


def test_who_is_not_root_needs_a_rule_and_the_right():
    ada = user(1)
    with pytest.raises(NotAuthorized, match="ec2:NoSuchOperation is for the root of an account only"):
        authorize(knowing(document(action="*")), ada, "ec2", "NoSuchOperation")
    authorize(knowing(POLICY), ada, "ec2", "StopInstances", InstanceIds=["i-1"])
    with pytest.raises(NotAuthorized, match="no identity-based policy allows the ec2:StopInstances action"):
        authorize(knowing(document(action="s3:*")), ada, "ec2", "StopInstances", InstanceIds=["i-1"])


@pytest.mark.parametrize(
    ("kind", "mfa", "service", "name", "code"),
    [
        ("user", False, "iam", "ListUsers", "InvalidClientTokenId"),
        ("user", True, "iam", "ListUsers", None),
        ("user", True, "sts", "AssumeRole", None),
        ("user", True, "sts", "GetCallerIdentity", None),
        ("user", True, "sts", "GetFederationToken", "AccessDenied"),
        ("root", False, "iam", "ListUsers", "InvalidClientTokenId"),
        ("root", True, "iam", "ListUsers", None),
        ("root", True, "sts", "GetSessionToken", "AccessDenied"),
        ("root", False, "ec2", "StopInstances", None),
        ("federated", True, "iam", "ListUsers", "InvalidClientTokenId"),
        ("federated", True, "sts", "GetCallerIdentity", None),
        ("federated", True, "sts", "AssumeRole", "AccessDenied"),
        ("role", False, "iam", "ListUsers", None),
        ("role", False, "sts", "DecodeAuthorizationMessage", None),
    ],
)
def test_what_sessions_may_call(kind, mfa, service, name, code):
    everything = document(action="*")
    caller = ROOT if kind == "root" else replace(user(1), kind=kind)
    policies = (everything,) if kind == "federated" else ()
    caller = replace(caller, session=session(mfa=mfa, policies=policies))
    if code is None:
        authorize(knowing(everything), caller, service, name)
        return
    with pytest.raises(NotAuthorized) as refusal:
        authorize(knowing(everything), caller, service, name)
    assert refusal.value.code == code


def test_long_term_keys_may_call_what_sessions_may_not():
    for caller in (ROOT, user(1)):
        authorize(knowing(document(action="*")), caller, "sts", "GetFederationToken", Name="n")
        authorize(knowing(document(action="*")), caller, "iam", "ListUsers")


TARGET = Target("arn:aws:ec2:us-east-1:111122223333:volume/vol-1", "volume", "vol-1")


def check(known, *checks, caller=None, service="ec2", parts=True):
    call = Call(caller or user(1), None, CLOUD, "r", NOW, "192.0.2.1", "agent")
    known.check(Asked(service, "Do", call, {}), rule(lambda _asked: iter(checks)) if parts else FREE)


def test_all_that_a_rule_asks_for_must_be_allowed():
    first, second = Check(TARGET), Check(replace(TARGET, arn=TARGET.arn + "2"), "ec2:CreateTags")
    check(knowing(POLICY), first, second)
    for policy in (document(action="ec2:Do"), document(action="ec2:CreateTags"), document(resource=TARGET.arn)):
        with pytest.raises(NotAuthorized):
            check(knowing(policy), first, second)
    with pytest.raises(NotAuthorized):
        check(knowing())


def test_nothing_is_looked_up_for_what_everybody_may_do():
    def policies_of(_tx, _caller):
        raise AssertionError

    check(PolicyAuthorizer(policies_of), parts=False)


@pytest.fixture
def facts(monkeypatch):
    """What is known of volumes and images; gives the kinds, ids and keys that were asked for."""
    asked = []

    def of(_tx, _caller, _cloud, kind, ids, *, keys):
        asked.append((kind, list(ids), set(keys)))
        return {("vol-1"): {"ec2:VolumeType": "gp3"}} if kind == "volume" else {}

    monkeypatch.setattr(authorizer.resource_facts, "of", of)
    return asked


def under(key, value, operator="StringEquals"):
    return document(Condition={operator: {key: value}})


def test_facts_are_loaded_by_kind_where_a_condition_asks_for_them(facts):
    image = Check(Target("arn:aws:ec2:us-east-1::image/ami-1", "image", "ami-1"))
    made = Check(Target("arn:aws:ec2:us-east-1:111122223333:volume/*"))
    check(knowing(POLICY), Check(TARGET), image, made)
    check(knowing(under("ec2:Region", "us-east-1")), Check(TARGET), image, made)
    check(knowing(under("aws:CurrentTime", "2000-01-01", "DateGreaterThan")), Check(TARGET))
    assert facts == []
    check(knowing(under("ec2:VolumeType", "gp3", "StringEqualsIfExists")), Check(TARGET), image, made, Check(TARGET))
    assert sorted(facts) == [
        ("image", ["ami-1"], {"ec2:volumetype"}),
        ("volume", ["vol-1"], {"ec2:volumetype"}),
    ]
    check(knowing(under("ec2:VolumeType", "gp3")), Check(TARGET))
    for bad in (image, made):
        with pytest.raises(NotAuthorized):
            check(knowing(under("ec2:VolumeType", "gp3")), Check(TARGET), bad)
    with pytest.raises(NotAuthorized):
        check(knowing(under("ec2:VolumeType", "gp2")), Check(TARGET))


def test_what_a_request_says_of_a_target_counts_before_what_is_known_of_it(facts):
    asked = Check(replace(TARGET, context={"ec2:VolumeType": "io2"}, tags={"Team": "a"}))
    check(knowing(under("ec2:VolumeType", "io2")), asked)
    check(knowing(under("aws:RequestTag/Team", "a")), asked)
    check(knowing(under("aws:TagKeys", ["Team"], "ForAllValues:StringEquals")), asked)
    for policy in (under("ec2:VolumeType", "gp3"), under("aws:RequestTag/Team", "b")):
        with pytest.raises(NotAuthorized):
            check(knowing(policy), asked)


def test_a_condition_on_one_action_says_nothing_of_another(facts):
    tagging = document(action="ec2:CreateTags")
    check(knowing(under("ec2:VolumeType", "gp3"), tagging), Check(TARGET), Check(Target("*"), "ec2:CreateTags"))
    with pytest.raises(NotAuthorized):
        check(knowing(under("ec2:VolumeType", "gp3")), Check(TARGET), Check(Target("*"), "ec2:CreateTags"))


@pytest.fixture
def tags(monkeypatch):
    """Tags of users, roles and the like, which are asked for by id."""
    asked = []

    def tags_of(_tx, entity_id):
        asked.append(entity_id)
        return {"Team": entity_id}

    monkeypatch.setattr(authorizer.call_targets, "tags_of", tags_of)
    return asked


def test_tags_of_who_asks_are_looked_up_once_and_under_those_of_the_session(tags):
    known = knowing(under("aws:PrincipalTag/Team", "AIDA1"))
    check(known, Check(TARGET))
    check(known, Check(TARGET))
    assert tags == ["AIDA1"]
    tagged = replace(user(1), kind="role", session=session(tags={"Team": "b"}))
    with pytest.raises(NotAuthorized):
        check(known, Check(TARGET), caller=tagged)
    check(knowing(POLICY), Check(TARGET))
    assert tags == ["AIDA1"]


def test_tags_of_what_iam_is_asked_about_have_two_names(tags):
    target = Target("arn:aws:iam::111122223333:user/u", "iam", "AIDA7")
    for key in ("aws:ResourceTag/Team", "iam:ResourceTag/Team"):
        condition = {"StringEquals": {key: "AIDA7"}}
        check(knowing(document(action="iam:*", Condition=condition)), Check(target), Check(target), service="iam")
        with pytest.raises(NotAuthorized):
            check(knowing(document(action="iam:*", Condition=condition)), Check(Target("*")), service="iam")
    assert tags == ["AIDA7", "AIDA7"]


def test_the_account_of_a_resource_is_the_callers(facts):
    check(knowing(under("aws:ResourceAccount", "111122223333")), Check(TARGET))
    with pytest.raises(NotAuthorized):
        check(knowing(under("aws:ResourceAccount", "444455556666")), Check(TARGET))


@pytest.fixture
def by_endpoint(monkeypatch):
    """Let a call come by a VPC endpoint of EC2 with a policy, None for one that allows everything."""

    def call(policy, caller, name="StopInstances", service="ec2", **params):
        read = None if policy is None else parse(policy, "resource")
        monkeypatch.setattr(authorizer.vpc_endpoint_access, "policy_of", lambda _tx, _via: read)
        via = Via("vpce-1", "vpc-1", "ec2")
        authorize(knowing(document(action="*")), caller, service, name, via=via, **params)

    return call


def test_the_policy_of_an_endpoint_binds_everybody(by_endpoint):
    to_all = {"Principal": "*"}
    other = document(action="ec2:StartInstances", **to_all)
    for caller in (ROOT, user(1)):
        by_endpoint(None, caller, InstanceIds=["i-1"])
        by_endpoint(document(**to_all), caller, InstanceIds=["i-1"])
        with pytest.raises(NotAuthorized, match="no VPC endpoint policy allows the ec2:StopInstances action"):
            by_endpoint(other, caller, InstanceIds=["i-1"])


def test_the_policy_of_an_endpoint_is_about_its_service_alone(by_endpoint, monkeypatch):
    launching = document(action="ec2:*", Principal="*")
    passing = rule(
        lambda _asked: iter([Check(TARGET), Check(Target("arn:aws:iam::111122223333:role/r"), "iam:PassRole")])
    )
    monkeypatch.setitem(authorizer.RULES, ("ec2", "AssociateIamInstanceProfile"), passing)
    by_endpoint(launching, ROOT, "AssociateIamInstanceProfile")
    only = document(action="ec2:Other", Principal="*")
    monkeypatch.setitem(authorizer.RULES, ("ec2", "Free"), FREE)
    for name in ("NoSuchOperation", "DescribeVpcs", "Free"):
        by_endpoint(launching, ROOT, name)
        with pytest.raises(NotAuthorized, match=f"ec2:{name}"):
            by_endpoint(only, ROOT, name)


def test_the_policy_of_an_endpoint_may_be_about_some_resources(by_endpoint):
    one = document(resource="arn:aws:ec2:us-east-1:111122223333:instance/i-1", Principal="*")
    by_endpoint(one, ROOT, InstanceIds=["i-1"])
    with pytest.raises(NotAuthorized, match="instance/i-2"):
        by_endpoint(one, ROOT, InstanceIds=["i-1", "i-2"])


def test_the_policy_of_an_endpoint_has_conditions_of_the_request_and_its_resources(by_endpoint, facts):
    condition = {"StringEquals": {"aws:PrincipalAccount": "111122223333"}}
    by_endpoint(document(Principal="*", Condition=condition), ROOT, InstanceIds=["i-1"])
    condition = {"StringEquals": {"aws:PrincipalAccount": "444455556666"}}
    with pytest.raises(NotAuthorized):
        by_endpoint(document(Principal="*", Condition=condition), ROOT, InstanceIds=["i-1"])
