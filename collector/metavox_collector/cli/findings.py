"""Findings on the terminal or as JSON, and the exit status that they ask for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

import typer
from rich.console import Console

from metavox_collector.operate.findings import Finding, any_error

_MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


def show(findings: Iterable[Finding], *, as_json: bool) -> None:
    """Print each as it is found, or all as JSON; exit status 1 if one of them must not stay so."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            console.print(f"{_MARKS[finding.level]} {finding.about}: {finding.says}")
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))  # noqa: T201  # for another program
    if any_error(found):
        raise typer.Exit(1)
