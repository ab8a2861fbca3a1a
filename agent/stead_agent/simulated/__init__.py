"""A host in memory, behind the same promises as the real one: for tests of controllers and of scale, and for demos."""
