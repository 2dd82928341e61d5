"""Studies: rows of networks and options, trained, scored on the same pictures and compared."""
