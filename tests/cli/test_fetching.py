"""What a recipe makes this machine fetch is said first, and asked for, unless the user gave it."""

import shutil

import pytest

URL = "http://127.0.0.1:9/shards"  # where nobody listens


@pytest.fixture
def stranger(trained, tmp_path):
    """Return a copy of a run whose recipe names a corpus at a URL."""
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    lines = (folder / "recipe.toml").read_text().splitlines()
    lines = [f'path = "{URL}"' if line.startswith("path = ") else line for line in lines]
    (folder / "recipe.toml").write_text("\n".join(lines))
    return folder


def test_a_run_does_not_decide_what_is_fetched(stranger, distill):
    """No command fetches a corpus that only a recipe names, and the message says what to do."""
    problem = f"its corpus is at {URL}, which the recipe names and you did not pass"
    recipe, new = stranger / "recipe.toml", stranger / "new"
    for words, culprit, how in (
        (("train", "--resume", "--out", stranger, "--steps", 5), stranger, f" as the corpus: {URL}"),
        (("train", "--config", recipe, "--out", new), "recipe", f" as the corpus: {URL}"),
        (("evaluate", stranger), stranger, f": distill evaluate RUN {URL}"),
        (("losses", "profile", "--run", stranger), stranger, f": distill losses profile {URL} --run ..."),
    ):
        result = distill(*words)
        assert (result.status, result.err) == (
            2,
            f"Error: {culprit}: {problem}\nIf you trust it, pass it yourself{how}\n",
        )
    assert not new.exists()


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_on_a_terminal_it_is_asked_for_once(stranger, distill, command, monkeypatch):
    """The question shows the whole URL; a yes fetches it, and a no ends the command."""
    asked = []
    for answer in (True, False):

        def confirm(question, *, err, answer=answer):
            assert err
            asked.append(question)
            return answer

        monkeypatch.setattr("distill.cli.options._on_a_terminal", lambda: True)
        monkeypatch.setattr("click.confirm", confirm)
        words = ("--resume", "--out", stranger, "--steps", 5) if command == "train" else (stranger,)
        result = distill(command, *words)
        said = "Connection refused" if answer else "you did not pass"
        assert result.status == 2
        assert said in result.err
    assert asked == [f"The recipe names a corpus at '{URL}'. Fetch it from there?"] * 2


def test_what_the_user_gives_is_fetched(stranger, distill):
    """A URL that the user gives as the corpus or as an option is fetched."""
    for words in ((URL,), ("--set", f"corpus.path={URL}")):
        result = distill("train", *words, "--config", stranger / "recipe.toml", "--out", stranger / "new")
        assert "Connection refused" in result.err
