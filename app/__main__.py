"""`python -m app` is the console script."""

from app.cli.main import main

main()
