"""The result of an ablation: as values, as text for a terminal, as JSON and as CSV. Loads no torch."""

import csv
import io
import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from distill.ablation.effects import RATE, Effect, Values
from distill.ablation.folder import AblationFolder
from distill.ablation.measures import MEASURES
from distill.ablation.plan import Plan, Variant
from distill.config.words import counted
from distill.errors import printable
from distill.storage.files import write_atomically

_WIDTH = 79


@frozen(kw_only=True)
class Ablation:
    """The result of an ablation. `str()` returns it as text.

    Attributes:
        folder: the folder with all runs.
        plan: the plan of it.
        effects: what each variant is worth in each measure.
        values: the measures by variant, by seed, by recording and by name.
        failed: the messages of the runs that have failed, by name. They are missing in the effects.
        notes: sentences on what limits the result.
        page: the page that compares the runs, None if it could not be made.
    """

    folder: Path
    plan: Plan
    effects: tuple[Effect, ...]
    values: Mapping[str, Values]
    failed: Mapping[str, str]
    notes: tuple[str, ...] = ()
    page: Path | None = None

    def __str__(self) -> str:
        blocks = [_block(variant, self._of(variant)) for variant in self.plan.variants[1:]]
        return "\n".join([*blocks, *_filled([self.reading, *self.verdicts, *self.notes])])

    def _of(self, variant: Variant) -> tuple[Effect, ...]:
        return tuple(effect for effect in self.effects if effect.variant == variant.name)

    @property
    def reading(self) -> str:
        """A sentence on what the numbers are, and how chance was corrected for."""
        if not self.effects:
            return "No run can be compared with the reference."
        seeds = max(effect.seeds for effect in self.effects)
        recordings = max(effect.recordings for effect in self.effects)
        alone = "" if seeds > 1 else " One seed says nothing of how much seeds differ: use --seeds 3."
        return (
            f"Differences from the reference, with 95 % intervals over {counted(seeds, 'seed')} and "
            f"{counted(recordings, 'recording')} (hierarchical bootstrap, paired). "
            f"* marks those larger than chance: {len(self.effects)} comparisons, corrected by Holm's method, "
            f"so that any mark at all is there by chance with a probability of {RATE:.0%}.{alone}"
        )

    @property
    def verdicts(self) -> tuple[str, ...]:
        """A sentence on each variant: the measures in which it is better or worse beyond chance."""
        sentences = []
        for variant in self.plan.variants[1:]:
            effects = self._of(variant)
            marked = [effect for effect in effects if effect.beyond_chance]
            parts = [
                f"{word} in {', '.join(MEASURES[each.measure].head for each in some)}"
                for word, some in (
                    ("worse", [effect for effect in marked if effect.worse]),
                    ("better", [effect for effect in marked if not effect.worse]),
                )
                if some
            ]
            none = "no difference that is larger than chance" if effects else "not compared"
            told = "; ".join(parts) or none
            difference = printable(variant.difference)
            # The address of an option is not the beginning of a sentence.
            start = _capital(difference) if variant.left_out else difference
            sentences.append(f"{start}: {told}.")
        return tuple(sentences)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as in `ablation.json`."""
        return {
            "reference": self.plan.reference.name,
            "variants": [
                {
                    "name": variant.name,
                    "loss": list(variant.loss),
                    "left_out": variant.left_out,
                    "settings": dict(variant.settings),
                    "runs": [run.name for run in self.plan.runs_of(variant)],
                }
                for variant in self.plan.variants
            ],
            "seeds": list(self.plan.seeds),
            "effects": [effect.to_dict() for effect in self.effects],
            "failed": dict(self.failed),
            "notes": list(self.notes),
            "values": {
                variant: {
                    str(seed): {
                        name: {key: value if math.isfinite(value) else None for key, value in each.items()}
                        for name, each in recordings.items()
                    }
                    for seed, recordings in seeds.items()
                }
                for variant, seeds in self.values.items()
            },
        }

    def to_csv(self) -> str:
        """Return the effects as comma-separated values, a line for each variant and measure."""
        rows = [effect.to_dict() for effect in self.effects]
        text = io.StringIO()
        heads = ["variant", "measure", "better", "reference", "difference", "low", "high", "worse"]
        writer = csv.DictWriter(text, [*heads, "beyond_chance", "seeds", "recordings"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def write(self) -> None:
        """Write `ablation.json` and `ablation.csv` to the folder of the ablation, in place of earlier ones.

        Raises:
            RunError: a file cannot be written.
        """
        folder = AblationFolder(self.folder)
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        write_atomically(folder.json, f"{text}\n".encode())
        write_atomically(folder.csv, self.to_csv().encode(errors="backslashreplace"))


def _block(variant: Variant, effects: Sequence[Effect]) -> str:
    """Return the lines of a variant."""
    lines = textwrap.wrap(printable(variant.difference), _WIDTH)
    if not effects:
        return "\n".join([*lines, "  no run to compare", ""])
    lines.append(f"  {'':10}{'better':>8}{'reference':>11}{'change':>10}   95 % interval")
    for effect in effects:
        measure, change = MEASURES[effect.measure], effect.difference
        star = "*" if effect.beyond_chance else " "
        word = ("worse" if effect.worse else "better") if effect.beyond_chance else ""
        known = math.isfinite(change.low)
        interval = f"{change.low:+z.3f} to {change.high:+z.3f}" if known else "unknown, of one value"
        lines.append(
            f"  {measure.head:10}{measure.better:>8}{effect.reference:z11.3f}{change.mean:+z10.3f}{star}  "
            f"{interval:22}{word}".rstrip()
        )
    return "\n".join([*lines, ""])


def _filled(sentences: Iterable[str]) -> list[str]:
    return [textwrap.fill(sentence, _WIDTH, subsequent_indent="  ") for sentence in sentences]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
