"""``POST /v1/traces``: a request from its header to its answer, one step after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers as Fields
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from metavox_collector.admission import Action, Admission, Network, client_of
from metavox_collector.clock import Clock
from metavox_collector.endpoints.intake import Intake
from metavox_collector.endpoints.refusals import Refusals, media_of
from metavox_collector.observe import Metrics, Tracing
from metavox_collector.receive import Headers, Media, Receiver, answer, inflate, no_such_method, understand
from metavox_collector.stage import Stager
from metavox_privacy.report import Report
from metavox_privacy.wire import Rejected

_SMALL = 2**17
"""Inflated bytes, 100 cells, that are decoded at once: handing a body to a thread costs more than decoding most."""


@dataclass(frozen=True)
class Traces:
    """The endpoint, as an ASGI application, and what a request passes through in it.

    Attributes:
        admission: Who may send.
        trusted: The networks of proxies that are believed whom they speak for.
        intake: Bytes.
        receiver: What they mean.
        decoders: How many large bodies are decoded at a time.
        stager: Where reports go.
        clock: What time it is.
        metrics: Where it is counted.
        refusals: What is answered when it goes wrong.
        tracing: Where it is traced.
    """

    admission: Admission
    trusted: Sequence[Network]
    intake: Intake
    receiver: Receiver
    decoders: CapacityLimiter
    stager: Stager
    clock: Clock
    metrics: Metrics
    refusals: Refusals
    tracing: Tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        fields = Fields(scope=scope)
        with self.tracing.span("receive") as span:
            try:
                if scope["method"] != "POST":
                    raise no_such_method("POST")
                response = await self._take(fields, peer_of(scope), receive)
            except Exception as error:
                response = self.refusals.response(error, media_of(fields))
            if span is not None:
                span.set_attribute("http.response.status_code", response.status_code)
        self.metrics.answered("traces", response.status_code)
        await response(scope, receive, send)

    async def _take(self, fields: Fields, peer: str | None, receive: Receive) -> Response:
        client = client_of(peer, fields.getlist("x-forwarded-for"), self.trusted) if self.trusted else peer
        self.admission.authorize(fields.get("authorization"))
        self.admission.admit_request(client, Action.SEND)
        headers = Headers.read(fields, self.receiver.limits)
        async with self.intake.body(receive) as body:
            decoded = await self._understood(headers, body)
            self.admission.admit(client, sum(isinstance(item, Report) for item in decoded))
            rejected = await self.stager.stage(decoded, self.clock())
        self._count(decoded, rejected)
        return _answered(rejected, headers.media) if rejected else _ALL_TAKEN[headers.media]

    async def _understood(self, headers: Headers, body: bytes) -> list[Report | Rejected]:
        with self.tracing.span("decode", kib=len(body) >> 10):  # the very length would tell which report it was
            data = inflate(body, headers.coding, self.receiver.limits.inflated)
            if len(data) <= _SMALL and headers.media is Media.PROTOBUF:  # JSON costs 50 times as much
                return understand(headers, data, self.receiver)
            return await to_thread.run_sync(understand, headers, data, self.receiver, limiter=self.decoders)

    def _count(self, decoded: Sequence[Report | Rejected], rejected: Sequence[Rejected]) -> None:
        spans = sum(len(item.cells) if isinstance(item, Report) else item.spans for item in decoded)
        refused = sum(item.spans for item in rejected)
        self.metrics.staged(spans - refused, ((item.reason, item.spans) for item in rejected))


def _answered(rejected: Sequence[Rejected], media: Media) -> Response:
    return Response(answer(rejected, media), media_type=media.value)


_ALL_TAKEN = {media: _answered((), media) for media in Media}
"""By far the most answers, made once."""


def peer_of(scope: Scope) -> str | None:
    """The address at the other end of the socket, if it has one."""
    return scope["client"][0] if scope.get("client") else None
