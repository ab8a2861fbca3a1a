"""IAM: users, groups, roles, instance profiles and their policies."""
