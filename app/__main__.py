"""`python -m app` is the console script."""

from app.cli.program import main

main()
