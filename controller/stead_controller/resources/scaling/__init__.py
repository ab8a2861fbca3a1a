"""Auto Scaling: groups of instances, their policies, and what changes their size."""
