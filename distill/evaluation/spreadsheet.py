"""The table of an evaluation as comma-separated values (CSV), for spreadsheets and pandas."""

import csv
import io
from collections.abc import Iterator, Mapping

import attrs

from distill.evaluation.results import Evaluation, Metrics

_MEASURES = tuple(name for name in attrs.fields_dict(Metrics) if name != "terms")
_OF_SETS = ("mean_absolute_level", "frechet", "frechet_frames")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The characters with which a spreadsheet takes text for a formula."""

_Cells = dict[str, str | float | int | None]


def csv_text(contenders: Mapping[str, Evaluation], trained_on: Mapping[str, bool | None]) -> str:
    """Return a line for each recording and contender, and one for the mean of each contender.

    `row` is `mean` or `recording`. The other columns have the names of the JSON; `terms.NAME` is that of a
    term. A cell is empty if there is no value. `./` precedes the name of a recording that begins like a
    formula of a spreadsheet.
    """
    terms = {
        name: None for each in contenders.values() for _, metrics in each.measured for name in metrics.terms
    }
    heads = ["row", "contender", "recording", "trained_on", "left_out", *_MEASURES, *_OF_SETS]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*heads, *(f"terms.{name}" for name in terms)], lineterminator="\n")
    writer.writeheader()
    for contender, evaluation in contenders.items():
        for cells in _rows(evaluation, trained_on):
            writer.writerow({"contender": contender, **cells})
    return text.getvalue()


def _rows(evaluation: Evaluation, trained_on: Mapping[str, bool | None]) -> Iterator[_Cells]:
    of_set = {name: getattr(evaluation, name) for name in _OF_SETS}
    yield {"row": "mean", **_numbers(evaluation.mean), **of_set}
    for result in evaluation.results:
        known = {True: "true", False: "false", None: None}[trained_on.get(result.name)]
        name = f"./{result.name}" if result.name.startswith(_FORMULA) else result.name
        yield {
            "row": "recording",
            "recording": name,
            "trained_on": known,
            "left_out": result.left_out,
            **_numbers(result.metrics),
        }


def _numbers(metrics: Metrics | None) -> _Cells:
    if metrics is None:
        return {}
    terms = {f"terms.{name}": value for name, value in metrics.terms.items()}
    return {name: getattr(metrics, name) for name in _MEASURES} | terms
