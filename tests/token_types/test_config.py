"""A misspelt option is an error before the run, with the option that was meant."""

import pytest

from coordexp_metrics.contract.errors import DeclarationError
from coordexp_metrics.token_types import TokenTypeConfig


def test_defaults_are_those_of_the_contract():
    config = TokenTypeConfig()
    assert (config.enabled, config.include, config.exclude) == (False, ("lvis",), ())
    assert config.reducer_options == {
        "log_top5": True,
        "coord_monitor_mass": True,
        "coord_monitor_mass_max_tokens": 0,
    }


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("log_top_5", "log_top5"),
        ("enable", "enabled"),
        ("includes", "include"),
        ("coord_monitor_max_tokens", "coord_monitor_mass_max_tokens"),
    ],
)
def test_an_unknown_key_is_refused_with_a_near_name(key, near):
    with pytest.raises(DeclarationError, match=f"did you mean '{near}'"):
        TokenTypeConfig.from_mapping({key: True})


def test_a_key_that_is_near_to_nothing_lists_them_all():
    with pytest.raises(DeclarationError, match="it has enabled, include"):
        TokenTypeConfig.from_mapping({"zzz": 1})


@pytest.mark.parametrize(
    "section",
    [
        {"enabled": "yes"},
        {"include": 7},
        {"include": [7]},
        {"exclude": {"lvis": 1}},
        {"log_top5": 1},
        {"coord_monitor_mass_max_tokens": -1},
        {"coord_monitor_mass_max_tokens": True},
        {"coord_monitor_mass_max_tokens": 1.5},
    ],
)
def test_a_value_that_cannot_be_right_is_refused(section):
    with pytest.raises(DeclarationError, match=next(iter(section))):
        TokenTypeConfig.from_mapping(section)


@pytest.mark.parametrize(
    ("label", "included"), [("LVIS", True), ("lvis", True), ("coco", False), (None, False)]
)
def test_included_means_in_include_and_not_in_exclude(label, included):
    config = TokenTypeConfig(include=["Lvis", "coco"], exclude=["COCO"])
    assert config.includes(label) is included
