"""`python -m tench` is the command line too."""

from tench.cli import main

if __name__ == "__main__":
    main()
