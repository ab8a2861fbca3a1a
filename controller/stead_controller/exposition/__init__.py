"""The controller's metrics of itself, for Prometheus."""
