"""Training: a table and photographs in, a run folder out."""
