"""Planted bugs: each a small wound in the real engine, or in its store, that the simulation must notice."""

from . import commits, consumer, life, outbox, store, sweeper, timers, verbs
from .plant import BUGS, relevant

__all__ = ["BUGS", "commits", "consumer", "life", "outbox", "relevant", "store", "sweeper", "timers", "verbs"]
