"""Cost Explorer: what the caller's account used, and what it costs."""
