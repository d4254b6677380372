"""Tests of `distill losses check`."""

import json

import pytest

PLUGIN = """
from attrs import field, frozen, validators
from torch import nn
from distill import TermConfig, TermSpec, hookimpl
from distill.views import LogMagnitude

@frozen(kw_only=True)
class Config(TermConfig):
    sign: int = 1

class Term(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.sign = config.sign if config.sign else 1 / 0

    def forward(self, inputs):
        prediction, target = inputs.view(LogMagnitude())
        return self.sign * (prediction - target).abs().mean()

@hookimpl
def distill_loss_terms():
    yield TermSpec(name="mine", aliases=("own",), config=Config, build=Term, summary="a term of mine",
                   waivers={"phase_turn": "it is deaf to phases, and says so at some length here"})
"""

TABLE = """\
config            passed
scalar            passed
finite            passed
gradient          passed
inputs_unchanged  passed
deterministic     passed
minimum           {minimum}
descent           passed
silence           passed
gain              passed
short_input       passed
strict_shapes     passed
phase_turn        waived          it is deaf to phases, and says
                                  so at some length here
dual_mono         passed
permutation       passed
batch_split       passed
float32           passed
float64           passed
state             passed
pickled           passed
copied            passed
device            passed          there is no other device to
                                  try
sync              passed
compiled          passed
weight_zero       passed
parameters        passed
objective         not applicable  the term is not trained

27 checks: {counts}
"""


@pytest.fixture(autouse=True)
def _installed(install_only, monkeypatch):
    """Install one distribution with a term, and no others; there is no accelerator."""
    install_only({"our-losses": ("mine", PLUGIN)})
    monkeypatch.setattr("distill.testing.checks.machine.accelerator", lambda: None)


@pytest.fixture
def narrow(monkeypatch):
    """Let the terminal be 64 columns wide."""
    monkeypatch.setattr("shutil.get_terminal_size", lambda: type("Size", (), {"columns": 64}))


@pytest.mark.usefixtures("narrow")
def test_a_term_that_passes(distill):
    """The table has a row for each check, then the count of each outcome; the status is 0."""
    result = distill("losses", "check", "mine")
    counts = "25 passed, 1 waived, 1 not applicable"
    assert (result.status, result.err) == (0, "")
    assert result.out == TABLE.format(minimum="passed", counts=counts)


def test_a_term_that_fails(distill):
    """The table says what to do; the message names the term, its distribution and the checks; status 1."""
    result = distill("losses", "check", "own", "--set", "loss.own.sign=-1")
    assert result.status == 1
    assert (
        "\nminimum           failed          at a spectrogram equal to the target's, the value is "
        in result.out
    )
    assert result.out.endswith("\n27 checks: 24 passed, 1 failed, 1 waived, 1 not applicable\n")
    assert result.err == "Error: mine (our-losses 1.5): 1 of 27 checks failed: minimum\n"


@pytest.mark.parametrize(("sign", "status"), [(1, 0), (-1, 1)])
@pytest.mark.parametrize("address", ["loss.mine.sign", "own.sign"])
def test_for_programs(distill, address, sign, status):
    """JSON has the term and every outcome; the status is the same. An address may be short."""
    result = distill("losses", "--json", "check", "mine", "--set", f"{address}={sign}")
    assert result.status == status
    listing = json.loads(result.out)
    checks = listing.pop("checks")
    assert listing == {
        "name": "mine",
        "aliases": ["own"],
        "distribution": "our-losses",
        "version": "1.5",
        "summary": "a term of mine",
    }
    assert len(checks) == 27
    assert checks[0] == {"check": "config", "status": "passed", "detail": ""}
    assert [each["check"] for each in checks if each["status"] == "failed"] == ["minimum"] * status


MISTAKES = {
    "unknown term": (
        ["mien"],
        (
            "Error: unknown loss term 'mien'; did you mean 'mine'?\n"
            "Choose from: stft, reconstruction or recon, kl, waveform, mine or own\n"
        ),
    ),
    "broken term": (
        ["mine", "--set", "loss.mine.sign=0"],
        (
            "Error: mine (our-losses 1.5): the loss term cannot be built: "
            "ZeroDivisionError: division by zero\n"
            "If its options are right, report this to the authors of our-losses.\n"
        ),
    ),
    "unknown option": (
        ["mine", "--set", "loss.mine.sing=1"],
        "Error: loss.mine.sing: unknown option, got 1; did you mean 'sign'?\n",
    ),
    "options of other terms": (
        ["mine", "--set", "loss.kl.free_bits=1", "--set", "loss.mine.sign=1", "--set", "stft.weight=1"],
        (
            "Error: --set: 'loss.kl.free_bits' is no option of 'mine'; expected an address below loss.mine\n"
            "'stft.weight' is no option of 'mine'; expected an address below loss.mine\n"
            "'distill losses show mine' lists them.\n"
        ),
    ),
    "option of another term": (
        ["mine", "--set", "loss.kl.free_bits=1"],
        (
            "Error: --set: 'loss.kl.free_bits' is no option of 'mine'; expected an address below loss.mine\n"
            "'distill losses show mine' lists them.\n"
        ),
    ),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_checked(distill, words, message):
    """A mistake of the user's is one message and status 2; nothing is printed beside it."""
    result = distill("losses", "check", *words)
    assert (result.status, result.out, result.err) == (2, "", message)
