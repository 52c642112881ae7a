"""Long runs against real servers, each with a short variant among the tests: `python -m tests.soak.<name>`."""
