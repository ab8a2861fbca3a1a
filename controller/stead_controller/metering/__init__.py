"""What accounts use, to the second, and what it costs."""
