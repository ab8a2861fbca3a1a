"""IAM: users, groups, roles, instance profiles and the policies that they have."""
