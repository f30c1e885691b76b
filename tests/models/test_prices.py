"""Prices and what they make of a model call's tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from forager.errors import UsageError
from forager.models.prices import Prices, cost, load_prices
from forager.records import Usage

USAGE = Usage(prompt_tokens=1_000_000, completion_tokens=100_000, cached_tokens=400_000)


def test_cached_tokens_are_prompt_tokens_at_another_price() -> None:
    assert cost(USAGE, Prices(prompt=2.0, completion=10.0, cached=0.5)) == pytest.approx(1.2 + 0.2 + 1.0)
    assert cost(USAGE, Prices(prompt=2.0, completion=10.0)) == pytest.approx(3.0)


def test_what_is_unknown_is_never_zero() -> None:
    assert cost(USAGE, None) is None
    assert cost(None, Prices(prompt=1.0, completion=1.0)) is None
    assert cost(USAGE, Prices(prompt=0.0, completion=0.0)) == 0.0


FILES = {
    "prices.toml": '["org/model-1.5"]\nprompt = 1\ncompletion = 2.5\ncached = 0.1\n',
    "prices.json": '{"org/model-1.5": {"prompt": 1, "completion": 2.5, "cached": 0.1}}',
    "prices.yaml": "org/model-1.5: {prompt: 1, completion: 2.5, cached: 0.1}\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_prices_by_model_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(FILES[name])
    assert load_prices(path, "org/model-1.5") == Prices(prompt=1.0, completion=2.5, cached=0.1)
    assert load_prices(path, "another") is None


def test_a_file_may_hold_one_price_for_any_model(tmp_path: Path) -> None:
    path = tmp_path / "prices.yml"
    path.write_text("prompt: 1\ncompletion: 2\n")
    assert load_prices(path, "any") == Prices(prompt=1.0, completion=2.0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "prompt = ", "is not TOML"),
        ("a.json", "{", "is not JSON"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.csv", "", r"\.csv is not one of"),
        ("a.json", "[]", "expected a table"),
        ("a.json", '{"m": {"prompt": 1}}', "model 'm': .*`completion`"),
        ("a.json", '{"m": {"prompt": "1", "completion": 1}}', "model 'm': Expected `float`"),
        ("a.json", '{"m": {"prompt": -1, "completion": 1}}', "dollars per million tokens, not -1"),
    ],
)
def test_a_file_that_is_wrong_is_one_line_with_its_name(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as error:
        load_prices(path, "m")
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read price file .*none\.toml: No such file"):
        load_prices(tmp_path / "none.toml", "m")
