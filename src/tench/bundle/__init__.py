"""A trained network in one folder or zip that needs neither torch nor the run it is from."""
