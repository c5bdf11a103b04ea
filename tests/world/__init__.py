"""A whole conversation in virtual time: the phone's core, the gateway's core and the stand-in's engine, joined by pipes
that lose, double and reorder. Nothing sleeps, nothing is random but by the seed.
"""
