"""What a workflow stands on: one module or package for each kind of store, and what shows a workflow to people.

Nothing is imported here: a driver is needed only by whoever uses its adapter.
"""
