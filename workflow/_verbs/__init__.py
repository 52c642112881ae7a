"""The verbs: start a run, call it back, wait for it, steer it, list runs."""
