"""The command `distill`: the console script, and `python -m distill`, as torchrun starts it."""

from distill.system.stopping import INTERRUPTED, end_at_once, end_stopped
from distill.system.utf8 import read_paths_as_utf8


def main() -> None:
    """Carry out the command line. A signal while its modules are imported ends it with one line."""
    end_at_once()
    read_paths_as_utf8()

    from distill.cli import main as commands  # noqa: PLC0415  # takes a while

    try:
        commands(prog_name="distill")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            end_stopped()
        raise


if __name__ == "__main__":
    main()
