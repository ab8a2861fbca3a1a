"""CloudWatch: dashboards, alarms, and what is made of metrics."""
