"""The README of a dataset, for a person; every figure in it comes from the data dictionary."""

from __future__ import annotations

from typing import Any

_SYNTHETIC = (
    "> **Synthetic.** These figures come from a simulated fleet in a sandbox. They measure nothing and must not\n"
    "> be presented as measurements.\n\n"
)


def readme(described: dict[str, Any]) -> str:
    """Markdown from a data dictionary."""
    release, privacy = described["release"], described["privacy"]
    return (
        f"# MetaVox, week {release['week']} ({release['purpose']})\n\n"
        + (_SYNTHETIC if release["synthetic"] else "")
        + "How fast models run on the devices of the people who agreed to share it. Every number carries noise:\n"
        "contributors and histograms are differentially private, and all other figures are computed from them.\n\n"
        + "## Privacy\n\n"
        + f"- Protected unit: {privacy['unit']}.\n"
        + f"- Mechanism: {privacy['mechanism']}.\n"
        + f"- Price of this release: ρ = {release['rho']:g} zCDP, which implies (ε = {release['epsilon']:.3g}, "
        f"δ = {release['delta']:g}).\n"
        + f"- {_together(privacy)}, δ = {release['delta']:g}).\n"
        + f"- The year's releases had cost ρ = {privacy['rho_spent_in_year']:g} of at most "
        f"{privacy['rho_yearly_cap']:g} when this week was closed.\n"
        + f"- One installation adds to at most {privacy['cells_per_installation']} cells of a table, and "
        f"{privacy['units_per_histogram']} units to each histogram of a cell.\n\n"
        + "## Ledger\n\n"
        + "Keep these, and nobody can change an earlier release or what it cost without your seeing it.\n\n"
        + f"- SHA-256 of this release: `{privacy['release_sha256']}`\n"
        + f"- Head of the ledger: `{privacy['ledger_head']}`\n\n"
        + "## Tables\n\n"
        + "\n".join(_table(table) for table in described["tables"])
        + "\nUnits, vocabularies and bucket edges are in `data_dictionary.json`.\n"
    )


def _together(privacy: dict[str, Any]) -> str:
    purposes = " and ".join(f"'{purpose}'" for purpose in privacy["rho_by_purpose"])
    return (
        f"Together, for somebody who agreed to {purposes} and so is in both of the week's releases: "
        f"ρ = {privacy['rho_together']:g}, (ε = {privacy['epsilon_together']:.3g}"
    )


def _unit(unit: str | None) -> str:
    return "the row's" if unit == "unit" else unit or ""


def _table(table: dict[str, Any]) -> str:
    head = (
        f"### `{table['file']}`\n\n{table['question']} Of {table['possible_cells']} possible cells "
        f"{table['cells']} are published: those whose noisy count is at least {table['threshold']:g}. "
        f"Standard deviation of the noise: {table['contributors_noise_scale']:.1f} on contributors"
    )
    if table["histogram_noise_scale"] is not None:
        head += f", {table['histogram_noise_scale']:.1f} on each bucket"
    rows = "\n".join(
        f"| `{c['name']}` | {c['type']} | {_unit(c['unit'])} | {c['description']} |" for c in table["columns"]
    )
    return f"{head}.\n\n| Column | Type | Unit | What it holds |\n| --- | --- | --- | --- |\n{rows}\n"
