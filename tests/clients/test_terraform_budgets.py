"""Terraform and its AWS provider, unchanged, make, change and remove a budget."""

import pytest

from tests.support import outside_clients
from tests.support.cloud import Cloud
from tests.support.terraform import SECONDS, Terraform

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


@pytest.fixture
def account(tmp_path):
    if why := outside_clients.why_missing("terraform"):
        pytest.skip(why)
    made = Cloud(tmp_path / "cloud")
    try:
        made.start_controller()
        yield made.new_account("terraform")
    finally:
        made.stop()


@pytest.mark.client("terraform")
@pytest.mark.timeout(SECONDS)
def test_a_budget_is_made_changed_and_removed(account, tmp_path):
    terraform = Terraform(tmp_path, account)
    for file in terraform.folder.glob("*.tf"):
        if file.name != "main.tf":
            file.unlink()
    (terraform.folder / "budget.tf").write_text(BUDGET)
    assert terraform.apply("-var=amount=20") == [2, 0, 0]
    terraform.plan_is_empty("-var=amount=20")
    assert terraform.apply("-var=amount=30.5") == [0, 1, 0]
    terraform.plan_is_empty("-var=amount=30.5")
    client = account.client("budgets")
    owner = account.client("sts").get_caller_identity()["Account"]
    [found] = client.describe_budgets(AccountId=owner)["Budgets"]
    assert (found["BudgetName"], found["BudgetLimit"]["Amount"]) == ("month", "30.5")
    assert terraform.destroy("-var=amount=30.5") == 2
    assert client.describe_budgets(AccountId=owner).get("Budgets", []) == []
