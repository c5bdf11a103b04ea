"""Clients that mean harm, written once: for tests, for the bench (``make hostile``), and by hand (``python -m tests.hostile``)."""

from tests.hostile.callers import KINDS, Hostile

__all__ = ["KINDS", "Hostile"]
