"""How fast the engine is, beside the same work written by hand on the same store in the same run."""
