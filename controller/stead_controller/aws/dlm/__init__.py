"""The Data Lifecycle Manager: snapshots on a schedule."""
