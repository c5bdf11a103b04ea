"""Clients that mean harm, written once: for tests and for the bench (``make hostile``)."""

from tests.hostile.callers import KINDS, Hostile

__all__ = ["KINDS", "Hostile"]
