"""A host in memory, with the same interfaces as the real one: for tests of controllers and of scale, and for demos."""
