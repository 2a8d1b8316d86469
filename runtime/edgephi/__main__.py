"""`python -m edgephi`: the same as the `edgephi` command."""

from edgephi.cli.main import main

if __name__ == "__main__":
    main(prog_name="edgephi")
