"""Terraform and its AWS provider, unchanged, make, change and remove the site of `examples/terraform`, and a budget.

Where PostgreSQL is installed the cloud has two controllers, and Terraform asks one and then the other.
"""

import pytest

from tests.support import outside_clients
from tests.support.clients import FAST
from tests.support.own_resources import own_resources
from tests.support.second_controller import clouds
from tests.support.terraform import SECONDS, Terraform

ZONES = ("us-east-1a", "us-east-1b")
BUDGET = """
variable "amount" {
  type = string
}

resource "aws_sns_topic" "spending" {
  name = "spending"
}

resource "aws_budgets_budget" "month" {
  name         = "month"
  budget_type  = "COST"
  limit_amount = var.amount
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  time_period_start = "2026-01-01_00:00"

  cost_filters = {
    Service = "Amazon Elastic Compute Cloud - Compute"
  }

  notification {
    comparison_operator       = "GREATER_THAN"
    threshold                 = 80
    threshold_type            = "PERCENTAGE"
    notification_type         = "FORECASTED"
    subscriber_sns_topic_arns = [aws_sns_topic.spending.arn]
  }
}
"""


@pytest.fixture(scope="module")
def controllers(tmp_path_factory):
    """A cloud with two zones, each with a simulated host: its controllers."""
    if why := outside_clients.why_missing("terraform"):
        pytest.skip(why)
    with clouds(tmp_path_factory.mktemp("zones"), tuple(f"--zone={zone}" for zone in ZONES)) as found:
        for zone in ZONES:
            found[0].add_hosts(1, zone=zone)
        found[0].add_image("stead-micro-1", "1G")
        yield found


@pytest.fixture
def account(controllers):
    """An account, at the first controller."""
    return controllers[0].new_account("terraform")


@pytest.mark.client("terraform")
@pytest.mark.timeout(SECONDS)
def test_a_site_is_made_changed_in_place_and_removed(controllers, account, tmp_path):
    """After each apply a plan, at the last controller, finds nothing to do; what is destroyed there leaves nothing."""
    terraform, sizes = Terraform(tmp_path, account), ("-var=workers=1", "-var=grown=1")
    (terraform.folder / "budget.tf").write_text(BUDGET)  # here since each command takes seconds to start
    added, changed, destroyed = terraform.apply(*sizes, "-var=amount=20")
    assert (changed, destroyed) == (0, 0)
    made = {kind: len(found) for kind, found in own_resources(account).items()}
    assert min(made.values()) > 0, made  # one at least of each kind that is looked for
    assert made["Instances"] == 1 + len(ZONES) + 1 + 1 + 1
    terraform.ask(controllers[-1].endpoint)
    assert limits(account) == [("month", 20.0)]
    terraform.plan_is_empty(*sizes, "-var=amount=20")
    first = terraform.outputs
    assert first["back"] == {"architectures": ["x86_64"], "always": 43, "for_a_while": 2085}
    [[worker]] = [
        group["Instances"] for group in account.ec2.describe_instances(InstanceIds=first["workers"])["Reservations"]
    ]
    assert worker["InstanceLifecycle"] == "spot"

    others = ("amount=30.5", 'people=["198.18.0.0/15","203.0.113.0/24"]')
    two = placed(account, first, "standard")
    changes = [*sizes] + [
        f"-var={one}"
        for one in ("instance_type=t3.micro", "data_size=2", "stage=second", "credits=unlimited", "slow=300", *others)
    ]
    terraform.ask(account.endpoint)
    added_now, changed, destroyed = terraform.apply(*changes, "-refresh=false")  # the plan has just looked at all
    assert (added_now, destroyed) == (0, 0)
    assert changed > 30  # all that has tags, and what the other variables are of
    terraform.ask(controllers[-1].endpoint)
    terraform.plan_is_empty(*changes)
    assert terraform.outputs == first  # the same machines at the same addresses
    assert placed(account, first, "unlimited") == two
    ec2 = account.ec2
    [[front]] = [
        group["Instances"] for group in ec2.describe_instances(InstanceIds=first["machines"][:1])["Reservations"]
    ]
    assert (front["InstanceType"], front["State"]["Name"]) == ("t3.micro", "running")
    assert {"Key": "stage", "Value": "second"} in front["Tags"]
    assert limits(account) == [("month", 30.5)]
    alarms_are_as_changed(account, first)
    the_group_grows(account)
    [template] = ec2.describe_launch_templates()["LaunchTemplates"]
    assert (template["DefaultVersionNumber"], template["LatestVersionNumber"]) == (2, 2)
    [version] = ec2.describe_launch_template_versions(Versions=["$Default"])["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"]["InstanceType"] == "t3.micro"
    is_launched_as_the_template_says(ec2)
    [data] = ec2.describe_volumes(VolumeIds=[first["volume"]])["Volumes"]
    assert (data["Size"], data["State"]) == (2, "in-use")

    assert terraform.destroy(*changes) == added
    assert {kind: found for kind, found in own_resources(account).items() if found} == {}
    assert limits(account) == []


def limits(account):
    """The budgets of the account, and what may be spent."""
    found = account.client("budgets").describe_budgets(AccountId=account.account_id).get("Budgets", [])
    return [(one["BudgetName"], float(one["BudgetLimit"]["Amount"])) for one in found]


def placed(account, outputs, spends):
    """The machines of the private subnets, whose placement, processors, credits and hibernation must be those asked."""
    ids = outputs["machines"][1:]
    pages = account.ec2.describe_instances(InstanceIds=ids)["Reservations"]
    machines = [one for page in pages for one in page["Instances"]]
    assert {one["Placement"]["GroupName"] for one in machines} == {"terraform-site-back"}
    assert {(one["CpuOptions"]["CoreCount"], one["CpuOptions"]["ThreadsPerCore"]) for one in machines} == {(1, 1)}
    assert {one["HibernationOptions"]["Configured"] for one in machines} == {True}
    found = account.ec2.describe_instance_credit_specifications(InstanceIds=ids)["InstanceCreditSpecifications"]
    assert {one["CpuCredits"] for one in found} == {spends}
    return sorted(one["InstanceId"] for one in machines)


def alarms_are_as_changed(account, outputs):
    """The alarm that was changed in place is, and has its tag; that of an expression is of each private machine."""
    cloudwatch = account.client("cloudwatch")
    found = cloudwatch.describe_alarms(AlarmNamePrefix="terraform-site-", AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    alarms = {one["AlarmName"].removeprefix("terraform-site-"): one for one in found["MetricAlarms"]}
    assert sorted(alarms) == ["busy", "queue", "slow", "stuck"]
    assert (alarms["slow"]["Threshold"], alarms["slow"]["ExtendedStatistic"]) == (300, "p99")
    tags = cloudwatch.list_tags_for_resource(ResourceARN=alarms["slow"]["AlarmArn"])["Tags"]
    assert {"Key": "stage", "Value": "second"} in tags
    measured = [one["MetricStat"]["Metric"] for one in alarms["busy"]["Metrics"] if "MetricStat" in one]
    assert sorted(one["Dimensions"][0]["Value"] for one in measured) == sorted(outputs["machines"][1:])
    [bad] = found["CompositeAlarms"]
    assert bad["AlarmRule"] == 'ALARM(terraform-site-busy) AND ALARM("terraform-site-slow")'


def the_group_grows(account):
    """The policy that an alarm names adds as many machines as its step says."""
    scaling, group = account.client("autoscaling"), {"AutoScalingGroupName": "terraform-site-front"}
    scaling.execute_policy(**group, PolicyName="queue", MetricValue=150, BreachThreshold=100)
    [found] = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[*group.values()])["AutoScalingGroups"]
    assert (found["MinSize"], found["DesiredCapacity"], found["MaxSize"]) == (1, 2, 3)
    told = scaling.describe_notification_configurations(AutoScalingGroupNames=[*group.values()])
    kinds = {one["NotificationType"] for one in told["NotificationConfigurations"]}
    assert kinds == {"autoscaling:EC2_INSTANCE_LAUNCH", "autoscaling:EC2_INSTANCE_TERMINATE"}
    [topic] = {one["TopicARN"] for one in told["NotificationConfigurations"]}
    found = account.client("sns").list_tags_for_resource(ResourceArn=topic)["Tags"]
    assert {"Key": "Name", "Value": "terraform-site"} in found
    [action] = scaling.describe_scheduled_actions(**group)["ScheduledUpdateGroupActions"]
    assert (action["DesiredCapacity"], action["Recurrence"], "MinSize" in action) == (2, "0 8 * * MON-FRI", False)


def is_launched_as_the_template_says(ec2):
    """The provider's words for a template are those that RunInstances understands; its instance is ended again."""
    template = {"LaunchTemplateName": "terraform-site-front"}
    [made] = ec2.run_instances(LaunchTemplate=template, MinCount=1, MaxCount=1)["Instances"]
    assert made["Placement"]["GroupName"] == "terraform-site-front"
    assert made["CpuOptions"] == {"CoreCount": 1, "ThreadsPerCore": 1}
    assert made["HibernationOptions"] == {"Configured": True}
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[made["InstanceId"]], WaiterConfig=FAST)
