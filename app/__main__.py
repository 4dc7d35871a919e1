"""Run the console script as `python -m app`."""

from app.cli.main import main

main()
