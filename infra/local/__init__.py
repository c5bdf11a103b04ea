"""The cloud on one machine: stand-ins that speak the real wire protocols, started together."""
