"""The records that `distill losses show` and the docs print."""

import attrs
from attrs import field, frozen, validators

from distill.config import Option, describe


@frozen(kw_only=True)
class Transform:
    """A nested class whose option is required."""

    n_fft: int = field(validator=validators.ge(16), metadata={"help": "samples in a\n transform"})


@frozen(kw_only=True)
class Config:
    """One option for each way to have a default, or none."""

    weight: float = field(default=1.0, validator=[validators.ge(0), validators.lt(float("inf"))])
    sizes: tuple[int, ...] = (512, 1024)
    clip: float | None = None
    name: str
    window: int = attrs.Factory(lambda self: len(self.name), takes_self=True)
    view: Transform = Transform(n_fft=1024)
    other: Transform
    maybe: Transform | None = None
    given: Transform | None = Transform(n_fft=64)


def test_every_option_is_described():
    """Nested options have dotted names and the defaults of the instance; required ones have none."""
    nested = {"type": "whole number", "bounds": ">= 16", "help": "samples in a transform"}
    plain = {"required": False, "bounds": "", "help": ""}
    assert describe(Config) == (
        Option(name="weight", type="number", required=False, default=1.0, bounds=">= 0, finite", help=""),
        Option(name="sizes", type="list of whole numbers", default=[512, 1024], **plain),
        Option(name="clip", type="number", default=None, **plain),
        Option(name="name", type="string", required=True, default=None, bounds="", help=""),
        Option(name="window", type="whole number", default=None, **plain),
        Option(name="view.n_fft", required=False, default=1024, **nested),
        Option(name="other.n_fft", required=True, default=None, **nested),
        Option(name="maybe", type="table", default=None, **plain),
        Option(name="given.n_fft", required=False, default=64, **nested),
    )
