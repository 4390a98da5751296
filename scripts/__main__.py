"""`python -m scripts`: the command line, where the `sluicegate` executable is not on PATH."""

from scripts.cli import main

main()
