from __future__ import annotations

import re

from typer.testing import CliRunner

from metavox_collector.admission import read
from metavox_collector.cli.verbs import app_for


def test_the_printed_header_is_accepted_by_the_printed_line(tmp_path):
    result = CliRunner().invoke(app_for(), ["token"])
    assert result.exit_code == 0
    header = re.search(r"Authorization: (Bearer \S+)\n", result.stdout)[1]
    line = re.search(r"(sha256:\S+)\n", result.stdout)[1]
    (tmp_path / "tokens").write_text(f"{line}\n")
    assert read(tmp_path / "tokens").accept(header)
