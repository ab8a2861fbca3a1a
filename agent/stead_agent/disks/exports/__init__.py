"""Volumes across hosts: exported by the host that stores them, and used by guests of another host through a proxy."""
