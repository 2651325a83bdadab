"""What the service answers to what, as an OpenAPI 3.1 document for ``GET /openapi.json``.

It is written here rather than derived from the endpoints: the one that matters takes bytes, and says what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metavox_collector.receive import JSON, PROTOBUF, Coding, Limits

Json: TypeAlias = dict[str, Any]

_HEX = "^([0-9a-fA-F]{2})*$"
_SECONDS = {"description": "In so many seconds the request may be tried again.", "schema": {"type": "integer"}}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_STATUS = {
    "type": "object",
    "description": "google.rpc.Status",
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    "required": ["code", "message"],
}
_ANSWER = {
    "type": "object",
    "description": "ExportTraceServiceResponse; without partialSuccess everything was taken",
    "properties": {
        "partialSuccess": {
            "type": "object",
            "properties": {"rejectedSpans": {"type": "string"}, "errorMessage": {"type": "string"}},
        }
    },
}
_STATE = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}


def described(limits: Limits) -> Route:
    """The endpoint that hands the document out."""
    written = document(limits)

    async def answer(_request: Request) -> Response:
        return JSONResponse(written)

    return Route("/openapi.json", answer)


def document(limits: Limits) -> Json:
    """The document of a service with these limits."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MetaVox collector",
            "version": version("metavox"),
            "description": "Takes anonymous contributions, and hands out what is released. Retries are for answers "
            "429, 502, 503 and 504 alone. Every path answers 404, and 405 with Allow, to what is not listed here.",
        },
        "paths": {
            "/v1/traces": {"post": _traces(limits)},
            "/v1/reports/{token}": {"delete": _deletion()},
            "/v1/releases/latest": {"get": _latest("content"), "head": _latest(None)},
            "/v1/datasets": {"get": _listing()},
            "/v1/ledger": {"get": _ledger("content"), "head": _ledger(None)},
            "/health": {"get": _probe("Whether the process lives.")},
            "/ready": {"get": _ready()},
            "/openapi.json": {"get": _get("This document.", {"type": "object"})},
        },
        "components": {
            "schemas": _request_schemas(),
            "securitySchemes": {"fleet": {"type": "http", "scheme": "bearer"}},
        },
    }


def _traces(limits: Limits) -> Json:
    gives_up = {
        "400": "The body is not what its type and encoding say.",
        "401": "This collector takes reports of a closed fleet alone, and the request has no token of it.",
        "408": "The body took too long.",
        "413": f"More than {limits.body} bytes, {limits.inflated} after inflation, or {limits.reports} reports.",
        "415": "Another content type, with Accept-Post, or another encoding, with Accept-Encoding.",
        "500": "A fault of the collector's.",
    }
    come_back = {"429": "Too much at a time, or from one network.", "503": "The database is busy or away."}
    again = {"Retry-After": _SECONDS}
    return {
        "operationId": "sendReports",
        "summary": "Send reports, as OTLP/HTTP; 200 once they are committed.",
        "security": [{}, {"fleet": []}],
        "parameters": [
            {"name": "Content-Encoding", "in": "header", "schema": {"enum": [coding.value for coding in Coding]}}
        ],
        "requestBody": {
            "required": True,
            "content": {
                PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
                JSON: {"schema": {"$ref": "#/components/schemas/ExportTraceServiceRequest"}},
            },
        },
        "responses": {
            "200": _otlp("Taken, but for the spans that partial_success counts.", _ANSWER),
            **{code: _otlp(text, _STATUS) for code, text in gives_up.items()},
            **{code: _otlp(text, _STATUS, again) for code, text in come_back.items()},
        },
    }


def _deletion() -> Json:
    return {
        "operationId": "deleteReport",
        "summary": "Delete the report of which one has the secret token.",
        "parameters": [
            {
                "name": "token",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
            }
        ],
        "responses": {
            "204": {"description": "Deleted, for good."},
            "400": _json("No token.", _ERROR),
            "404": _json("Nothing of that name is staged; if it arrives later, it will be refused.", _ERROR),
            "429": _json("Too many at a time.", _ERROR, {"Retry-After": _SECONDS}),
            "503": _away(),
        },
    }


def _latest(body: str | None) -> Json:
    named = ("newestRelease", "The newest published release that was not withdrawn.")
    asked = _cached(*named, "The newest release, as one file.", {"type": "object"}, body)
    asked["responses"]["404"] = _json("Nothing is released yet.", _ERROR)
    return asked


def _ledger(body: str | None) -> Json:
    parts: Json = {"head": {"type": "string"}, "delta": {"type": "number"}}
    parts |= {name: {"type": "array", "items": {"type": "object"}} for name in ("balance", "history")}
    found = {"type": "object", "properties": parts, "required": list(parts)}
    named = ("ledger", "What every release has cost, what was corrected, and what each ISO year has left.")
    return _cached(*named, "The ledger's head, the balances and all entries, oldest first.", found, body)


def _cached(operation: str, summary: str, text: str, schema: Mapping[str, Any], body: str | None) -> Json:
    """A document with an ETag, or for None of ``body`` what HEAD answers."""
    etag = {"ETag": {"schema": {"type": "string"}}, "Cache-Control": {"schema": {"type": "string"}}}
    found: Json = {"description": text, "headers": etag}
    return {
        "operationId": operation if body else f"{operation}Head",
        "summary": summary,
        "parameters": [{"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}],
        "responses": {
            "200": found | ({body: {JSON: {"schema": schema}}} if body else {}),
            "304": {"description": "It is the one that If-None-Match names.", "headers": etag},
            "503": _away(),
        },
    }


def _listing() -> Json:
    datasets = {"datasets": {"type": "array", "items": {"type": "object"}}}
    found = {"type": "object", "properties": datasets, "required": ["datasets"]}
    listed = _get("What is released, the oldest first.", found)
    listed["responses"]["503"] = _away()
    return listed


def _probe(summary: str) -> Json:
    return _get(summary, _STATE)


def _ready() -> Json:
    asked = _probe("Whether reports could be taken now.")
    asked["responses"]["503"] = _json("They could not: status says why.", _STATE)
    return asked


def _get(summary: str, schema: Mapping[str, Any]) -> Json:
    return {"summary": summary, "responses": {"200": _json(summary, schema)}}


def _away() -> Json:
    return _json("The database is busy or away.", _ERROR, {"Retry-After": _SECONDS})


def _json(text: str, schema: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> Json:
    return {"description": text, "content": {JSON: {"schema": schema}}, "headers": headers or {}}


def _otlp(text: str, schema: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> Json:
    """An answer in the form in which the request was."""
    content = {PROTOBUF: {"schema": {"type": "string", "format": "binary"}}, JSON: {"schema": schema}}
    return {"description": text, "content": content, "headers": headers or {}}


def _request_schemas() -> Json:
    """OTLP's request in JSON, as far as a report has it. What is beside it is ignored, or rejects the report."""
    text, whole = {"type": "string"}, {"anyOf": [{"type": "string", "pattern": "^-?[0-9]{1,18}$"}, _integer(2**53)]}
    value = {
        "oneOf": [
            _object({"stringValue": text}, required=True),
            _object({"intValue": whole}, required=True),
            _object({"boolValue": {"type": "boolean"}}, required=True),
            _object({"arrayValue": _object({"values": _list("AnyValue")})}, required=True),
        ]
    }
    nano = {"anyOf": [{"type": "string", "pattern": "^[0-9]{1,18}$"}, _integer(2**53, least=0)]}
    ids = {name: {"type": "string", "pattern": _HEX} for name in ("traceId", "spanId")}
    times = {"startTimeUnixNano": nano, "endTimeUnixNano": nano}
    attributes = {"attributes": _list("KeyValue")}
    span = {**ids, **times, **attributes, "name": text, "kind": _integer(2**31 - 1)}
    scope = {"scope": _object({"name": text}), "spans": _list("Span")}
    return {
        "AnyValue": value,
        "KeyValue": _object({"key": text, "value": {"$ref": "#/components/schemas/AnyValue"}}),
        "Span": _object(span),
        "ScopeSpans": _object(scope),
        "ResourceSpans": _object({"resource": _object(attributes), "scopeSpans": _list("ScopeSpans")}),
        "ExportTraceServiceRequest": _object({"resourceSpans": _list("ResourceSpans")}),
    }


def _object(properties: Mapping[str, Any], *, required: bool = False) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties) if required else []}


def _list(of: str) -> Json:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{of}"}}


def _integer(most: int, *, least: int | None = None) -> Json:
    return {"type": "integer", "minimum": -most if least is None else least, "maximum": most}
