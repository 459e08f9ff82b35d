"""`python -m services.cli`: the command where nothing has put `runplane` on the path."""

from services.cli.main import main

if __name__ == "__main__":
    main(prog_name="runplane")
