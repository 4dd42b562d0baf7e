"""In every state that pushes, merges, gcs, deaths and time can lead to, what is published is there;
and with any one rule left out, something is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.model.explorer import Explorer
from tests.model.protocol import RULES, Scenario
from tests.model.scenarios import ALL, LEAST, SAVING, SPECIAL

# Seconds; scripts/model goes on.
STATES = 1_000_000
SOME = 120_000


def test_nothing_is_lost_in_a_million_states() -> None:
    found = Explorer(ALL).explore(STATES)
    assert found.trace is None, "\n".join(found.trace)
    assert found.states >= STATES


@pytest.mark.parametrize("scenario", [LEAST, *SPECIAL.values()])
def test_nothing_is_lost_where_a_rule_matters(scenario: Scenario) -> None:
    found = Explorer(scenario).explore(SOME)
    assert found.trace is None, "\n".join(found.trace)


@pytest.mark.parametrize("rule", sorted(RULES.keys() - SAVING.keys()))
def test_without_a_rule_something_is_lost(rule: str) -> None:
    scenario = replace(SPECIAL.get(rule, LEAST), without=rule)
    found = Explorer(scenario).explore(STATES)
    assert found.trace is not None, f"{found.states} states without the rule: {RULES[rule]}"
    print(f"without the rule: {RULES[rule]}", *found.trace, sep="\n  ")
    assert found.trace[-1].startswith("lost: ")


@pytest.mark.parametrize("rule", SAVING)
def test_rules_that_only_save_work_are_known(rule: str) -> None:
    found = Explorer(replace(SAVING[rule], without=rule)).explore(STATES)
    assert found.complete and found.trace is None
