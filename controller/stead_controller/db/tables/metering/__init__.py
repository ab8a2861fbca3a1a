"""The tables of what is billed."""
