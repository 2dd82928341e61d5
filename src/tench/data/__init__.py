"""Pictures: where they come from (`sources`), decoded once (`decode`, `cache`), in which role (`roles`) and order (`order`)."""
