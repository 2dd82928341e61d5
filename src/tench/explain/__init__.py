"""What a finished run shows beside its figures; written by whoever trains, drawn by the report."""
