"""Distance, simulated in the client: named profiles, a model of a line without clock or network, a shell around connections."""
