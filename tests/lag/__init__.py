"""Lag traces with known truth, and what the monitor makes of them: `make lag`."""
