"""The command `distill`: the console script, and `python -m distill`, as torchrun starts it."""

from distill.stopping import end_at_once


def main() -> None:
    """Carry out the command line. A signal while its modules are imported ends it with one line."""
    end_at_once()

    from distill.cli import main as commands  # noqa: PLC0415  # takes a while

    commands(prog_name="distill")


if __name__ == "__main__":
    main()
