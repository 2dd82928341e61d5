"""Own pictures in minutes: a folder looked at, a plan proposed, carried out, and reported on (`tench new`)."""
