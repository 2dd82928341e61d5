"""`tench serve`: networks in use behind a page and a small HTTP API, safe to leave running. Needs no torch by itself."""
