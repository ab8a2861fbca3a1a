"""CloudWatch's tables."""
