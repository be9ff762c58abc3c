"""`python -m vmlab` is `vmlab`."""

from vmlab.cli.app import main

main()
