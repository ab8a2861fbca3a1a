"""Tests of one guest: pytest ends what is of scope `package` when it leaves a folder with this file."""
