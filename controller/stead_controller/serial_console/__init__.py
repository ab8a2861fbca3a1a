"""Instances' serial consoles by SSH."""
