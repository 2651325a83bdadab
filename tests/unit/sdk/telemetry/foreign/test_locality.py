"""Which engine answered, and whether it ran here. Where that is not clear, it is skipped."""

from __future__ import annotations

from typing import Any

import pytest

from metavox.telemetry.foreign.locality import ENGINES, MODULES, SPELLINGS, Engine, engine_here, is_this_machine
from metavox.telemetry.foreign.surroundings import DISTRIBUTIONS


def here(
    attributes: dict[str, Any], scope: str = "other", *, loaded: tuple[str, ...] = (), **more: Any
) -> str | None:
    found = engine_here(attributes, scope, is_loaded=loaded.__contains__, **more)
    return found.name if found else None


@pytest.mark.parametrize(
    "address",
    [
        "localhost", "LOCALHOST:8000", "127.0.0.1", "127.1.2.3:11434", "http://127.0.0.1:8000/v1/", "::1",
        "http://[::1]:8000/v1", "https://user:word@localhost/v1", "0.0.0.0:11434", "model.localhost",
        "/run/engine.sock", "unix:///run/engine.sock",
    ],
)  # fmt: skip
def test_a_loopback_address_or_a_socket_is_this_machine(address: str):
    assert is_this_machine(address)


@pytest.mark.parametrize(
    "address",
    [
        "api.openai.com", "http://10.0.0.7:8000", "192.168.1.2", "localhost.example.com", "127.0.0.1.example.com",
        "notlocalhost", "host.docker.internal", "http://example.com/localhost", "http://localhost@example.com/", "",
        "2001:db8::1", "gpu-box:8000", 127, None, ["localhost"], "//example.com/run", "http://example.com?at=@localhost",
        "example.com#@localhost", "http://example.com\\@localhost", "http://", "http://[", "unknown",
    ],
)  # fmt: skip
def test_any_other_address_is_not(address: object):
    assert not is_this_machine(address)


@pytest.mark.parametrize("name", ["gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"])
@pytest.mark.parametrize(("said", "engine"), [("vllm", "vllm"), ("Ollama", "ollama"), ("llama_cpp", "llama.cpp")])
def test_an_engine_at_a_local_address_is_here_under_any_name_of_the_provider(name: str, said: str, engine: str):
    assert here({name: said, "server.address": "127.0.0.1"}) == engine


@pytest.mark.parametrize("address", ["gpu.example.com", "10.0.0.7"])
def test_an_engine_elsewhere_is_not_here(address: str):
    assert here({"gen_ai.provider.name": "vllm", "server.address": address}, loaded=("vllm",)) is None
    assert here({"metavox.engine.name": "vllm", "server.address": address}) is None


def test_addresses_that_contradict_one_another_are_not_clear():
    addresses = {"server.address": "localhost", "gen_ai.openai.api_base": "https://api.example.com/v1"}
    assert here({"gen_ai.provider.name": "vllm", **addresses}, loaded=("vllm",)) is None


def test_an_engine_without_an_address_is_here_when_its_library_is_loaded():
    assert here({"gen_ai.provider.name": "vllm"}) is None
    assert here({"gen_ai.provider.name": "vllm"}, loaded=("vllm",)) == "vllm"


def test_ollama_is_a_server_wherever_its_client_is():
    assert here({"gen_ai.system": "Ollama"}, loaded=("ollama", "")) is None


def test_who_names_the_engine_in_our_words_says_that_it_ran_here():
    assert here({"metavox.engine.name": "llama.cpp"}) == "llama.cpp"


@pytest.mark.parametrize("attributes", [{"metavox.engine.name": "metavox"}, {"gen_ai.provider.name": "metavox"}])
def test_metavox_counts_its_own_requests_itself(attributes: dict[str, Any]):
    assert here({**attributes, "server.address": "localhost"}, loaded=("metavox",)) is None


@pytest.mark.parametrize("provider", ["openai", "anthropic", "aws.bedrock", "huggingface", "", None, 7, ["vllm"]])
def test_a_provider_that_is_no_engine_is_skipped_even_at_a_local_address(provider: object):
    assert here({"gen_ai.provider.name": provider, "server.address": "localhost"}) is None


def test_an_engine_that_the_schema_does_not_know_is_not_taken_for_its_provider():
    attributes = {"metavox.engine.name": "somebodys", "gen_ai.provider.name": "vllm", "server.address": "localhost"}
    assert here(attributes, loaded=("vllm",)) is None


def test_the_engine_behind_a_protocol_is_here_when_the_program_says_so():
    assert here({"gen_ai.provider.name": "openai"}, behind="vllm") == "vllm"
    assert here({"llm.system": "openai"}, behind="vllm") == "vllm"
    assert here({"gen_ai.provider.name": "openai", "server.address": "localhost"}, behind="vllm") == "vllm"


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.provider.name": "openai", "server.address": "api.openai.com"},
        {"gen_ai.provider.name": "openai", "gen_ai.openai.api_base": "https://api.openai.com/v1"},
        {"gen_ai.provider.name": "anthropic"},
        {"gen_ai.provider.name": "ollama"},
        {},
    ],
)
def test_what_a_program_says_of_its_protocol_moves_no_other_request_here(attributes: dict[str, Any]):
    assert here(attributes, behind="vllm") is None


@pytest.mark.parametrize(
    ("scope", "engine"),
    [
        ("vllm.tracing.otel", "vllm"),
        ("vllm.llm_engine", "vllm"),
        ("sglang server", "sglang"),
        ("vllm-gateway", None),
    ],
)
def test_an_engines_own_tracer_is_the_engine(scope: str, engine: str | None):
    assert here({}, scope) == engine


@pytest.mark.parametrize("scope", ["openlit.instrumentation.vllm", "opentelemetry.instrumentation.transformers"])
def test_a_span_of_a_whole_call_with_any_number_of_prompts_is_skipped(scope: str):
    assert here({"metavox.engine.name": "vllm"}, scope, loaded=("vllm",)) is None


def test_every_spelling_and_module_is_of_an_engine_of_the_schema():
    assert {*SPELLINGS.values(), *MODULES, *DISTRIBUTIONS} <= ENGINES
    assert not set(SPELLINGS) & ENGINES


def test_an_engine_is_in_the_process_when_its_module_is():
    attributes = {"metavox.engine.name": "vllm"}

    assert engine_here(attributes, "other", is_loaded=lambda _: False) == Engine("vllm", is_in_process=False)
    assert engine_here(attributes, "other", is_loaded={"vllm"}.__contains__) == Engine("vllm", is_in_process=True)
