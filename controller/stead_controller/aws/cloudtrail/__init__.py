"""CloudTrail: what was asked of this account's resources, by whom."""
