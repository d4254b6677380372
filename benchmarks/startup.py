"""Time of `distill --help` compared with `import click` alone, and of expensive imports.

Run: python benchmarks/startup.py. Packages that are not installed are left out.
"""

import importlib.util
import statistics
import subprocess
import sys
import time

RUNS = 15
COMMANDS = {
    "import click": [sys.executable, "-c", "import click"],
    "distill --help": [sys.executable, "-c", "from distill.cli import main; main()", "--help"],
    "distill losses": [sys.executable, "-c", "from distill.cli import main; main()", "losses"],
    "import torch": [sys.executable, "-c", "import torch"],
    "import accelerate": [sys.executable, "-c", "import accelerate"],
    "import lightning_fabric": [sys.executable, "-c", "import lightning_fabric"],
}


def seconds(command: list[str]) -> float:
    """Return the time of a process in seconds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Time the commands alternately, so that changes of the machine's speed affect them equally."""
    commands = {
        name: command
        for name, command in COMMANDS.items()
        if not name.startswith("import ") or importlib.util.find_spec(name.removeprefix("import "))
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS + 1):
        for name, command in commands.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:26}{value * 1e3:7.0f} ms{value / medians['import click']:7.1f} x import click")


if __name__ == "__main__":
    main()
