"""Copies of the controller's state in a folder, which bring it back on another machine: see README.md."""
