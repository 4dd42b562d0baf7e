"""`python -m dvlite`."""

from dvlite.cli.main import main

if __name__ == "__main__":
    main()
