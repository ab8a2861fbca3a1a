"""Inline policies as IAM shows them."""

from urllib.parse import quote

from stead_controller.aws.call import Result
from stead_controller.resources.iam.inline_policies import InlinePolicy


def inline_policy_view(found: InlinePolicy) -> Result:
    """Show an inline policy with its document."""
    return {"PolicyName": found.name, "PolicyDocument": quote(found.document, safe="")}
