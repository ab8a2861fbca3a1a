"""Auto Scaling: groups of instances."""
