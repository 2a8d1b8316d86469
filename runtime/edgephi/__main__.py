"""`python -m edgephi`: the same as the `edgephi` command."""

from edgephi.cli.main import program

if __name__ == "__main__":
    program()
