"""The ``henaw`` command, as ``python -m henaw.cli``."""

from henaw.cli.main import main

if __name__ == "__main__":
    main()
