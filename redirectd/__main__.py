"""`python -m redirectd` is the same as the `redirectd` command."""

from redirectd.cli.main import main

if __name__ == "__main__":
    main()
