"""CloudTrail: the calls about this account's resources, and who made them."""
