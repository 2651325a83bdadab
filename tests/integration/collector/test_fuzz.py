"""Whatever bytes come, the receiver answers, keeps nothing that is not a report, and does not grow."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import httpx

from metavox_collector.receive import Coding, Media
from tests.fuzz.bodies import body
from tests.integration.collector.running import PATIENCE, collector

INPUTS = 3000  # `make fuzz-collector` gives 100,000


def test_no_body_makes_the_receiver_fail_or_grow():
    command = [sys.executable, "-m", "tests.fuzz.receiving", str(INPUTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    found = json.loads(done.stdout)
    assert min(found["outcomes"][name] for name in ("taken", "INVALID", "beside_schema", "units", "TOO_LARGE")) > 0


def test_the_service_answers_every_body_and_none_with_500(tmp_path):
    chance = random.Random(2)
    with (
        collector(f"sqlite:///{tmp_path}/collector.db") as service,
        httpx.Client(base_url=service.url, trust_env=False, timeout=PATIENCE) as client,
    ):
        for _ in range(200):
            media, coding, data = body(chance)
            answer = client.post("/v1/traces", content=data, headers=_headers(media, coding))
            assert answer.status_code in (200, 400, 413)
            assert answer.headers["content-type"] == media.value
        assert service.stop() == (0, "")


def _headers(media: Media, coding: Coding) -> dict[str, str]:
    return {"Content-Type": media.value, "Content-Encoding": coding.value}
