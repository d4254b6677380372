"""Tests of distill.base: the files of the base model in the package."""

import pytest

from distill import base
from distill.errors import RunError
from distill.storage.checkpoints import save_state


@pytest.mark.parametrize(
    ("name", "load"),
    [("_FILE", base.load_base), ("_CODES", base.load_codes), ("_COMPACT", base.load_compact)],
)
def test_a_file_that_an_installation_lacks_is_one_message(tmp_path, monkeypatch, name, load):
    """A missing, a damaged and another file each say to install Distill again, since no run is to blame."""
    path = tmp_path / "a.safetensors"
    monkeypatch.setattr(base, name, path)

    def problem():
        with pytest.raises(RunError) as caught:
            load()
        assert str(caught.value) == f"{path}: {caught.value.problem}\nInstall Distill again."
        return caught.value.problem

    assert problem() == "there is no such file"
    path.write_bytes(b"x" * 99)
    assert problem() == "the file is cut short, damaged, or not a safetensors file"
    save_state(path, {"other": 1})
    assert problem() == "is not the file of this version of Distill"


def test_a_compact_code_of_another_base_model_is_refused(tmp_path, monkeypatch):
    """Its axes and layers would fit by shape, but the code that they restore means something else."""
    path = tmp_path / "compact.safetensors"
    monkeypatch.setattr(base, "_COMPACT", path)
    save_state(path, {"base": "0" * 64, "weights": {}})
    with pytest.raises(RunError) as caught:
        base.load_compact()
    assert str(caught.value) == (
        f"{path}: is not the file of this version of Distill\nInstall Distill again."
    )
    base.write_compact({})
    assert base.load_compact() == {}
