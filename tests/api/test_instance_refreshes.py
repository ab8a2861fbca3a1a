"""Instance refreshes: a group's instances are replaced, never more at once than may be missing."""

import re
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from tests.support.scaling import Groups


@pytest.fixture
def groups(api):
    """A group of four instances by the version 1 of its template, which has another one."""
    made = Groups(api)
    made.create(
        DesiredCapacity=4,
        MaxSize=8,
        LaunchTemplate={"LaunchTemplateName": "web", "Version": "1"},
        DefaultInstanceWarmup=0,
    )
    assert len(made.up()) == 4
    api.ec2.create_launch_template_version(
        LaunchTemplateName="web",
        SourceVersion="1",
        LaunchTemplateData={"ImageId": api.world.image_id, "InstanceType": "stead.small"},
    )
    return made


SECOND = {"LaunchTemplate": {"LaunchTemplateName": "web", "Version": "2"}}


def start(groups, **asked):
    return groups.call(groups.client.start_instance_refresh, **asked)["InstanceRefreshId"]


def refresh(groups):
    return groups.call(groups.client.describe_instance_refreshes)["InstanceRefreshes"][0]


def versions(groups):
    """The versions of the template, of all that is in service or comes."""
    return sorted(
        one["LaunchTemplate"]["Version"]
        for one in groups.shown()["Instances"]
        if one["LifecycleState"] in ("InService", "Pending")
    )


def turn(groups, **tell):
    """Have what comes run and what goes be gone; give how many serve, and how many there are."""
    groups.run()
    states = groups.states()
    serve = sum(state == "InService" for state in states.values())
    there = sum(state in ("InService", "Pending") for state in states.values())
    going = [one for one, state in states.items() if state == "Terminating"]
    coming = [one for one, state in states.items() if state == "Pending"]
    if going:
        groups.become("terminated", *going)
    if coming:
        groups.become("running", *coming)
    return serve, there


def turns(groups, most=30):
    """Go on until the refresh is over; give the least that served, and the most that was there."""
    seen = []
    for _ in range(most):
        seen.append(turn(groups))
        if "EndTime" in refresh(groups):
            return min(serve for serve, _ in seen), max(there for _, there in seen)
    raise AssertionError(refresh(groups))


@pytest.mark.parametrize(
    ("least", "most", "serve", "there"),
    [(None, None, 3, 4), (50, 100, 2, 4), (100, 100, 3, 4), (100, 150, 4, 6), (100, 110, 4, 5), (0, 100, 0, 4)],
)
def test_instances_are_replaced_within_the_percentages(groups, least, most, serve, there):
    before = set(groups.states())
    given = {"MinHealthyPercentage": least, "MaxHealthyPercentage": most}
    start(
        groups,
        DesiredConfiguration=SECOND,
        Preferences={name: value for name, value in given.items() if value is not None},
    )
    assert turns(groups) == (serve, there)
    shown = refresh(groups)
    assert (shown["Status"], shown["PercentageComplete"], shown["InstancesToUpdate"]) == ("Successful", 100, 0)
    assert versions(groups) == ["2"] * 4
    assert not before & set(groups.states())
    assert groups.shown()["LaunchTemplate"]["Version"] == "2"
    causes = [one["Cause"] for one in groups.activities() if one["Description"].startswith("Terminating")]
    assert len(causes) == 4
    ended = (
        r"At \S+ an instance was taken out of service in response to an instance refresh\.  At \S+ instance i-\w+ was "
    )
    assert all(re.fullmatch(f"{ended}selected for termination\\.", cause) for cause in causes)
    launched = [one["Cause"] for one in groups.activities() if one["Description"].startswith("Launching")][:4]
    assert all(" an instance was launched in response to an instance refresh." in cause for cause in launched)


def test_without_another_configuration_all_are_replaced_by_what_the_group_launches(groups):
    before = set(groups.states())
    start(groups)
    turns(groups)
    assert not before & set(groups.states())
    assert versions(groups) == ["1"] * 4


def test_those_that_match_stay_if_that_is_asked(groups):
    start(groups, Preferences={"SkipMatching": True})
    groups.run()
    shown = refresh(groups)
    assert (shown["Status"], shown["PercentageComplete"]) == ("Successful", 100)
    before = set(groups.states())
    groups.call(groups.client.update_auto_scaling_group, **SECOND)
    start(groups, Preferences={"SkipMatching": True})
    turns(groups)
    assert (versions(groups), before & set(groups.states())) == (["2"] * 4, set())


def test_a_new_instance_serves_after_its_warm_up(groups):
    start(groups, DesiredConfiguration=SECOND, Preferences={"InstanceWarmup": 60})
    for _ in range(5):
        turn(groups)
    assert versions(groups) == ["1", "1", "1", "2"]
    shown = refresh(groups)
    live = shown["ProgressDetails"]["LivePoolProgress"]
    assert (shown["PercentageComplete"], shown["InstancesToUpdate"]) == (0, 3)  # replaced at once, done when it is warm
    assert live == {"PercentageComplete": 0, "InstancesToUpdate": 3}
    [new] = [one["InstanceId"] for one in groups.shown()["Instances"] if one["LaunchTemplate"]["Version"] == "2"]
    assert shown["StatusReason"] == (
        f"Waiting for instances to warm up before continuing. For example: {new} is warming up."
    )
    groups.now += timedelta(seconds=61)
    groups.run()
    assert refresh(groups)["PercentageComplete"] == 25
    for _ in range(5):
        turn(groups)
    assert versions(groups) == ["1", "1", "2", "2"]


def test_it_says_what_it_waits_for(groups):
    first, *_ = groups.states()
    groups.call(groups.client.set_instance_protection, InstanceIds=[first], ProtectedFromScaleIn=True)
    start(groups, DesiredConfiguration=SECOND)
    groups.run()
    [pending] = [one for one, state in groups.states().items() if state == "Pending"]
    groups.run()
    begins = "Waiting for remaining instances to be available. For example:"
    assert refresh(groups)["StatusReason"] == (
        f"{begins} {pending} has insufficient data to evaluate its health with Amazon EC2."
    )
    for _ in range(9):
        turn(groups)
    shown = refresh(groups)
    assert (shown["PercentageComplete"], shown["InstancesToUpdate"], versions(groups)) == (75, 1, ["1", "2", "2", "2"])
    assert shown["StatusReason"] == (f"{begins} {first} is protected. Remove instance scale-in protection to continue.")
    groups.call(groups.client.set_instance_protection, InstanceIds=[first], ProtectedFromScaleIn=False)
    turns(groups)
    assert "StatusReason" not in refresh(groups)


def test_it_waits_for_instances_in_standby(groups):
    first, *_ = groups.states()
    groups.call(groups.client.enter_standby, InstanceIds=[first], ShouldDecrementDesiredCapacity=True)
    start(groups, DesiredConfiguration=SECOND)
    for _ in range(9):
        turn(groups)
    assert f"{first} is in Standby." in refresh(groups)["StatusReason"]


def test_it_pauses_at_checkpoints(groups):
    start(groups, DesiredConfiguration=SECOND, Preferences={"CheckpointPercentages": [25, 100], "CheckpointDelay": 600})
    for _ in range(6):
        turn(groups)
    assert (versions(groups), refresh(groups)["PercentageComplete"]) == (["1", "1", "1", "2"], 25)
    groups.now += timedelta(seconds=601)
    turns(groups)
    assert versions(groups) == ["2"] * 4


def test_it_is_over_at_a_last_checkpoint_before_the_end(groups):
    start(groups, DesiredConfiguration=SECOND, Preferences={"CheckpointPercentages": [50]})
    turns(groups)
    assert (versions(groups), refresh(groups)["Status"]) == (["1", "1", "2", "2"], "Successful")


@pytest.mark.parametrize("waits", [False, True])
def test_a_cancelled_one_ends_where_it_is_and_the_group_launches_what_it_did(groups, waits):
    start(groups, DesiredConfiguration=SECOND)
    for _ in range(2):
        turn(groups)
    groups.run()
    groups.call(groups.client.cancel_instance_refresh, WaitForTransitioningInstances=waits)
    assert refresh(groups)["Status"] == ("Cancelling" if waits else "Cancelled")
    for _ in range(6):
        turn(groups)
    assert refresh(groups)["Status"] == "Cancelled"
    assert "1" in versions(groups)
    assert groups.shown()["LaunchTemplate"]["Version"] == "1"


def test_it_is_rolled_back_to_what_was_there(groups):
    start(groups, DesiredConfiguration=SECOND)
    for _ in range(2):
        turn(groups)
    assert "2" in versions(groups)
    groups.call(groups.client.rollback_instance_refresh)
    shown = refresh(groups)
    assert (shown["Status"], shown["RollbackDetails"]["PercentageCompleteOnRollback"] > 0) == (
        "RollbackInProgress",
        True,
    )
    turns(groups)
    assert (refresh(groups)["Status"], versions(groups)) == ("RollbackSuccessful", ["1"] * 4)
    assert groups.shown()["LaunchTemplate"]["Version"] == "1"


@pytest.mark.parametrize("rolls_back", [False, True])
def test_one_that_replaces_nothing_for_too_long_fails(api, groups, rolls_back):
    first = next(iter(groups.states()))
    groups.call(groups.client.set_instance_protection, InstanceIds=[first], ProtectedFromScaleIn=True)
    start(groups, DesiredConfiguration=SECOND, Preferences={"AutoRollback": rolls_back})
    for _ in range(12):
        turn(groups)
    shown = refresh(groups)
    assert (versions(groups), shown["Status"], shown["InstancesToUpdate"]) == (["1", "2", "2", "2"], "InProgress", 1)
    groups.now += timedelta(hours=1, seconds=1)
    groups.run()
    if not rolls_back:
        shown = refresh(groups)
        assert (shown["Status"], "protected from scaling in" in shown["StatusReason"]) == ("Failed", True)
        assert groups.shown()["LaunchTemplate"]["Version"] == "1"
        return
    assert "protected" in refresh(groups)["RollbackDetails"]["RollbackReason"]
    turns(groups)
    assert (refresh(groups)["Status"], versions(groups)) == ("RollbackSuccessful", ["1"] * 4)


@pytest.mark.parametrize(("choice", "left"), [("Ignore", ["1", "2", "2", "2"]), ("Refresh", ["2"] * 4)])
def test_protected_instances_are_left_out_or_replaced_as_is_asked(groups, choice, left):
    first = next(iter(groups.states()))
    groups.call(groups.client.set_instance_protection, InstanceIds=[first], ProtectedFromScaleIn=True)
    start(groups, DesiredConfiguration=SECOND, Preferences={"ScaleInProtectedInstances": choice})
    turns(groups)
    assert (versions(groups), refresh(groups)["Status"]) == (left, "Successful")


@pytest.mark.parametrize("choice", ["Ignore", "Wait"])
def test_instances_in_standby_are_left_out_or_waited_for(groups, choice):
    first = next(iter(groups.states()))
    groups.call(groups.client.enter_standby, InstanceIds=[first], ShouldDecrementDesiredCapacity=True)
    start(groups, DesiredConfiguration=SECOND, Preferences={"StandbyInstances": choice})
    if choice == "Ignore":
        turns(groups)
    else:
        for _ in range(12):
            turn(groups)
    assert refresh(groups)["Status"] == ("Successful" if choice == "Ignore" else "InProgress")
    assert (groups.states()[first], versions(groups)) == ("Standby", ["2"] * 3)


def test_it_stays_for_a_while_after_all_is_replaced(groups):
    start(groups, DesiredConfiguration=SECOND, Preferences={"BakeTime": 300})
    for _ in range(14):
        turn(groups)
    assert (refresh(groups)["Status"], groups.shown()["LaunchTemplate"]["Version"]) == ("Baking", "1")
    groups.now += timedelta(seconds=301)
    groups.run()
    assert (refresh(groups)["Status"], groups.shown()["LaunchTemplate"]["Version"]) == ("Successful", "2")


def test_a_suspended_process_holds_it_up(groups):
    groups.call(groups.client.suspend_processes, ScalingProcesses=["InstanceRefresh"])
    start(groups, DesiredConfiguration=SECOND)
    for _ in range(3):
        turn(groups)
    assert versions(groups) == ["1"] * 4
    groups.call(groups.client.resume_processes, ScalingProcesses=["InstanceRefresh"])
    turns(groups)
    assert versions(groups) == ["2"] * 4


def refused(code, function, *arguments, **asked):
    with pytest.raises(ClientError) as caught:
        function(*arguments, **asked)
    assert caught.value.response["Error"]["Code"] == code
    return caught.value.response["Error"]["Message"]


def test_there_is_one_at_a_time_and_none_to_end_without_it(groups):
    for name in ("cancel_instance_refresh", "rollback_instance_refresh"):
        refused("ActiveInstanceRefreshNotFound", groups.call, getattr(groups.client, name))
    start(groups)
    refused("InstanceRefreshInProgress", start, groups)
    refused("IrreversibleInstanceRefresh", groups.call, groups.client.rollback_instance_refresh)
    assert len(groups.call(groups.client.describe_instance_refreshes)["InstanceRefreshes"]) == 1


def test_what_was_launched_by_the_latest_version_cannot_be_rolled_back(groups):
    latest = {"LaunchTemplate": {"LaunchTemplateName": "web", "Version": "$Latest"}}
    groups.call(groups.client.update_auto_scaling_group, **latest)
    start(groups, DesiredConfiguration=SECOND)
    refused("IrreversibleInstanceRefresh", groups.call, groups.client.rollback_instance_refresh)


@pytest.mark.parametrize(
    "preferences",
    [
        {"MinHealthyPercentage": 90, "MaxHealthyPercentage": 200},
        {"CheckpointPercentages": [50, 20]},
        {"CheckpointPercentages": [20, 20]},
        {"AutoRollback": True},
    ],
    ids=str,
)
def test_preferences_that_cannot_be_are_refused_and_change_nothing(groups, preferences):
    refused("ValidationError", start, groups, Preferences=preferences)
    assert groups.call(groups.client.describe_instance_refreshes)["InstanceRefreshes"] == []


def test_a_configuration_that_cannot_be_launched_is_refused_and_changes_nothing(groups):
    absent = {"LaunchTemplate": {"LaunchTemplateName": "web", "Version": "7"}}
    refused("ValidationError", start, groups, DesiredConfiguration=absent)
    refused("ValidationError", start, groups, DesiredConfiguration={"LaunchTemplate": {"LaunchTemplateName": "none"}})
    assert groups.call(groups.client.describe_instance_refreshes)["InstanceRefreshes"] == []
    groups.call(groups.client.set_desired_capacity, DesiredCapacity=5)
    groups.run()
    assert versions(groups) == ["1"] * 5


def test_the_latest_is_first_and_pages_go_on(groups):
    made = []
    for _ in range(3):
        made.insert(0, start(groups))
        groups.now += timedelta(seconds=1)
        groups.call(groups.client.cancel_instance_refresh, WaitForTransitioningInstances=False)
    found, token = [], {}
    while token is not None:
        page = groups.call(groups.client.describe_instance_refreshes, MaxRecords=1, **token)
        found += [one["InstanceRefreshId"] for one in page["InstanceRefreshes"]]
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else None
    assert found == made
    asked = groups.call(groups.client.describe_instance_refreshes, InstanceRefreshIds=[made[1]])
    assert [one["InstanceRefreshId"] for one in asked["InstanceRefreshes"]] == [made[1]]
