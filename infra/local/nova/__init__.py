"""A stand-in for Amazon Nova Sonic and the Converse API that speaks their real wire protocols."""
