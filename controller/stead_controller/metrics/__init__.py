"""Metrics: what was measured, and reading it back as CloudWatch's statistics."""
