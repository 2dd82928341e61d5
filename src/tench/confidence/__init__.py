"""How far a network's answers can be trusted: temperature, and whether a picture is like anything the network knows."""
