"""Many phones at once: `python -m client_sim load` measures a gateway as its learners feel it."""
