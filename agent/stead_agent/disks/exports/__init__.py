"""Volumes across hosts: served to another host by the one that has them, and brought to guests of the other."""
