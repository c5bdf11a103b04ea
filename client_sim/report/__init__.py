"""What runs have measured, as one page for people and one document for programs: ``python -m client_sim report``."""
