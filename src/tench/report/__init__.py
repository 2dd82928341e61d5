"""The report and its parts: they read records and draw, and never train."""
