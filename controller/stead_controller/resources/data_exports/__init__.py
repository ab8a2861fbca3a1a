"""Exports of costs and use to buckets."""
