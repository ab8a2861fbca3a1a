"""Permissions boundaries as IAM shows them."""

from stead_controller.aws.call import Result


def permissions_boundary_view(arn: str | None) -> Result | None:
    """Show the managed policy that is a boundary, if there is one."""
    if arn is None:
        return None
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}
