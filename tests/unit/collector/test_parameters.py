"""What the proof says was drawn is what is drawn."""

from __future__ import annotations

import pytest

from metavox_collector.dataset.statement import statement_of
from metavox_collector.proof.parameters import specification
from metavox_privacy.budget import authorize
from metavox_privacy.release import make_release
from metavox_privacy.week import Week
from tests.spans import small_schema

SCHEMA = small_schema()


@pytest.mark.parametrize("nano_rho", [14_500_000, 10**13], ids=["shipped", "hardly any noise"])
@pytest.mark.parametrize(("weeks", "scope"), [(1, "full"), (4, "full"), (1, "coarse"), (4, "coarse")])
def test_the_specification_states_each_scale_and_threshold_as_a_release_has_them(weeks, scope, nano_rho):
    authorization = authorize(
        [],
        week=Week(2027, 1),
        weeks=weeks,
        purpose="publish",
        scope=scope,
        schema_version=SCHEMA.version,
        nano_rho=nano_rho,
        yearly_cap=nano_rho,
        sandbox=False,
    )
    release = make_release({table.name: {} for table in SCHEMA.in_scope(scope)}, SCHEMA, authorization)
    history = [authorization.settle(release.sha256)]
    stated = specification(SCHEMA, scope, weeks, nano_rho, statement_of(release, history), history)
    paid = 0
    for said, drawn in zip(stated["tables"], release.tables, strict=True):
        counts, histograms = said["counts"], said["histograms"]
        assert (said["name"], said["dimensions"]) == (drawn.name, list(drawn.dimensions))
        assert (said["possible_keys"], counts["threshold"]) == (drawn.keys, drawn.threshold)
        assert counts["noise_scale"] == drawn.count_scale
        assert {one["metric"]: one["noise_scale"] for one in histograms} == drawn.histogram_scales
        paid += sum(one["nano_rho"] for one in (counts, *histograms))
    assert 0.999 * nano_rho <= paid <= nano_rho
    composition = stated["composition"]
    assert ("4 ISO weeks" in composition["unit"]) == (weeks == 4)
    assert composition["rho_spent_in_year"] == composition["rho_together"] == nano_rho / 1e9
    assert composition["releases_in_year_so_far"] == 1
