"""The libraries that are known to send telemetry of their own, with their switches.

Each switch was read in the source or the docs that the comment above it names. Where releases of a library
differ, only what all of them obey counts as off: a library is rather called active once too often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Switch:
    """One environment variable that decides.

    Attributes:
        variable: Its name.
        value: What to set it to.
        holds: Whether a value of it has the effect of ``value``.
    """

    variable: str
    value: str
    holds: Callable[[str], bool]

    def __str__(self) -> str:
        return f"{self.variable}={self.value}"

    def is_set(self, environment: Mapping[str, str]) -> bool:
        """Whether the environment has it so."""
        text = environment.get(self.variable)
        return text is not None and self.holds(text)


@dataclass(frozen=True, slots=True)
class Library:
    """A library with telemetry of its own.

    Attributes:
        distribution: The name by which it is installed.
        sends: What it sends, in a few words.
        off: What switches it off, the library's own switch first; empty where it sends only when asked to.
        on: What asks it to send; empty where it sends by itself.
        elsewhere: Another way to switch it off, which is not looked at here.
    """

    distribution: str
    sends: str
    off: tuple[Switch, ...] = ()
    on: tuple[Switch, ...] = ()
    elsewhere: str | None = None


def _one_of(*values: str) -> Callable[[str], bool]:
    return lambda text: text.lower() in values


def _exactly(value: str) -> Callable[[str], bool]:
    return lambda text: text == value


def _anything_but(*values: str) -> Callable[[str], bool]:
    return lambda text: text.lower() not in values


def _anything(_: str) -> bool:
    return True


_TRUE = _one_of("1", "true", "yes", "on")
_FALSE = _one_of("0", "false", "no", "off")

LIBRARIES = (
    # agno/agent/_init.py, set_telemetry
    Library(
        "agno",
        "which model and which features each run of an agent used",
        (Switch("AGNO_TELEMETRY", "false", _anything_but("true")),),
    ),
    # airflow/settings.py, is_usage_data_collection_enabled
    Library(
        "apache-airflow",
        "versions, platform, database and executor, from its scheduler",
        (
            Switch("AIRFLOW__USAGE_DATA_COLLECTION__ENABLED", "False", _one_of("f", "false", "0")),
            Switch("SCARF_ANALYTICS", "false", _one_of("false")),
        ),
        elsewhere="enabled = False in airflow.cfg, section usage_data_collection",
    ),
    # Phoenix docs, "Privacy"
    Library(
        "arize-phoenix",
        "page views and clicks in its web interface",
        (Switch("PHOENIX_TELEMETRY_ENABLED", "false", _one_of("false")),),
    ),
    # axolotl/telemetry/manager.py, _check_telemetry_enabled
    Library(
        "axolotl",
        "training settings, hardware, base model and errors",
        (
            Switch("AXOLOTL_DO_NOT_TRACK", "1", _one_of("1", "true")),
            Switch("DO_NOT_TRACK", "1", _one_of("1", "true")),
        ),
    ),
    # BentoML README, on opting out of usage tracking
    Library(
        "bentoml",
        "commands, versions and sizes of models, system",
        (Switch("BENTOML_DO_NOT_TRACK", "True", _one_of("true")),),
    ),
    # Browser Use docs, "Telemetry"
    Library(
        "browser-use",
        "tasks in their own words, visited addresses, actions, errors and results",
        (Switch("ANONYMIZED_TELEMETRY", "false", _one_of("false")),),
    ),
    # chromadb/telemetry/product/posthog.py; the setting is read by pydantic
    Library(
        "chromadb",
        "versions, and which calls with how many items",
        (Switch("ANONYMIZED_TELEMETRY", "False", _FALSE),),
        elsewhere="Settings(anonymized_telemetry=False)",
    ),
    # crewai/telemetry/telemetry.py, _is_telemetry_disabled
    Library(
        "crewai",
        "versions, system, roles of agents, tools and models of each crew",
        (
            Switch("CREWAI_DISABLE_TELEMETRY", "true", _one_of("true")),
            Switch("CREWAI_DISABLE_TRACKING", "true", _one_of("true")),
            Switch("OTEL_SDK_DISABLED", "true", _one_of("true")),
        ),
    ),
    # dagster's telemetry.py asks only whether the variable is there
    Library(
        "dagster",
        "commands, and sizes of repositories and runs",
        (Switch("DAGSTER_DISABLE_TELEMETRY", "1", _anything),),
        elsewhere="telemetry: {enabled: false} in dagster.yaml",
    ),
    # dbt/cli/flags.py
    Library(
        "dbt-core",
        "invocations, versions, adapter, and names of projects as hashes",
        (
            Switch("DBT_SEND_ANONYMOUS_USAGE_STATS", "false", _one_of("0", "f", "false", "n", "no")),
            Switch("DO_NOT_TRACK", "1", _one_of("1", "t", "true", "y", "yes")),
        ),
        elsewhere="send_anonymous_usage_stats: false in dbt_project.yml, under flags",
    ),
    # deepeval/telemetry.py, telemetry_opt_out; earlier releases take nothing but YES
    Library(
        "deepeval",
        "evaluations and their metrics, an id of the user, the public address",
        (Switch("DEEPEVAL_TELEMETRY_OPT_OUT", "YES", _exactly("YES")),),
    ),
    # dvc/analytics.py, is_enabled
    Library(
        "dvc",
        "commands, exit codes, versions, system, an id of the user",
        (Switch("DVC_NO_ANALYTICS", "1", bool),),
        elsewhere="dvc config core.analytics false",
    ),
    # gradio/analytics.py, analytics_enabled: whatever is not spelled "True" is off
    Library(
        "gradio",
        "components and errors of each app that is launched",
        (Switch("GRADIO_ANALYTICS_ENABLED", "False", lambda text: text != "True"),),
    ),
    # GX docs, "Toggle analytics events"
    Library(
        "great-expectations",
        "features used, system and version of Python",
        (Switch("GX_ANALYTICS_ENABLED", "False", _one_of("false")),),
        elsewhere="context.variables.analytics_enabled = False",
    ),
    # haystack/telemetry/_telemetry.py
    Library(
        "haystack-ai",
        "components of pipelines that run, versions, system, a random id of the user",
        (Switch("HAYSTACK_TELEMETRY_ENABLED", "False", _anything_but("true", "1")),),
    ),
    # huggingface_hub/constants.py and utils/_telemetry.py; offline it sends nothing at all
    Library(
        "huggingface_hub",
        "versions of libraries with its requests, and events of libraries built on it",
        (
            Switch("HF_HUB_DISABLE_TELEMETRY", "1", _TRUE),
            Switch("DISABLE_TELEMETRY", "1", _TRUE),
            Switch("DO_NOT_TRACK", "1", _TRUE),
            Switch("HF_HUB_OFFLINE", "1", _TRUE),
        ),
    ),
    # langsmith/utils.py, tracing_is_enabled
    Library(
        "langsmith",
        "prompts, answers and every step of a chain",
        on=(
            Switch("LANGSMITH_TRACING", "true", _exactly("true")),
            Switch("LANGSMITH_TRACING_V2", "true", _exactly("true")),
            Switch("LANGCHAIN_TRACING_V2", "true", _exactly("true")),
            Switch("LANGCHAIN_TRACING", "true", _exactly("true")),
        ),
    ),
    # lmcache/usage_context.py; only later releases heed DO_NOT_TRACK
    Library(
        "lmcache",
        "hardware, cloud provider, cache settings, name of the model",
        (Switch("LMCACHE_TRACK_USAGE", "false", _exactly("false")),),
    ),
    # mem0/memory/telemetry.py
    Library(
        "mem0ai",
        "calls, which stores and models are configured, system, an id of the user",
        (Switch("MEM0_TELEMETRY", "False", _anything_but("true", "1", "yes")),),
    ),
    # mlflow/telemetry/utils.py, is_telemetry_disabled
    Library(
        "mlflow",
        "which functions are called with which kinds of arguments, versions, system",
        (
            Switch("MLFLOW_DISABLE_TELEMETRY", "true", _one_of("true", "1")),
            Switch("DO_NOT_TRACK", "true", _one_of("true")),
        ),
    ),
    # prefect/server/services/telemetry.py; the setting is read by pydantic
    Library(
        "prefect",
        "versions, platform and a random id of the server",
        (Switch("PREFECT_SERVER_ANALYTICS_ENABLED", "false", _FALSE),),
    ),
    # ragas/_analytics.py, do_not_track
    Library(
        "ragas",
        "metrics and number of rows of each evaluation, a random id of the user",
        (Switch("RAGAS_DO_NOT_TRACK", "true", _one_of("true")),),
    ),
    # ray's usage_lib.py, _usage_stats_enabledness: anything but 0 or 1 is an error
    Library(
        "ray",
        "versions, size and hardware of the cluster, libraries used, each hour",
        (Switch("RAY_USAGE_STATS_ENABLED", "0", _exactly("0")),),
        elsewhere="ray disable-usage-stats",
    ),
    # SkyPilot docs, "Usage Collection"
    Library(
        "skypilot",
        "commands, tasks without their code, errors",
        (Switch("SKYPILOT_DISABLE_USAGE_COLLECTION", "1", _exactly("1")),),
    ),
    # Streamlit docs, config.toml, browser.gatherUsageStats
    Library(
        "streamlit",
        "commands used by apps, versions and page views, from the browser",
        (Switch("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false", _one_of("false")),),
        elsewhere="gatherUsageStats = false in .streamlit/config.toml, section browser",
    ),
    # traceloop/sdk/telemetry.py
    Library(
        "traceloop-sdk",
        "starts and features used, a random id of the user",
        (Switch("TRACELOOP_TELEMETRY", "false", _anything_but("true", "")),),
    ),
    # ultralytics/utils/__init__.py, is_online; the events obey the setting
    Library(
        "ultralytics",
        "modes, kinds of models, versions, environment",
        (Switch("YOLO_OFFLINE", "true", _one_of("true")),),
        elsewhere="yolo settings sync=False",
    ),
    # unsloth/models/_utils.py, the statistics of its hub downloads
    Library(
        "unsloth",
        "that it ran, and on what kind of machine",
        (Switch("UNSLOTH_DISABLE_STATISTICS", "1", _anything),),
    ),
    # Unstructured README, "Analytics"; later releases send only with UNSTRUCTURED_TELEMETRY_ENABLED=true
    Library(
        "unstructured",
        "versions, platform and kind of graphics card at each import; later releases only when asked to",
        (
            Switch("SCARF_NO_ANALYTICS", "true", _exactly("true")),
            Switch("DO_NOT_TRACK", "true", _exactly("true")),
        ),
    ),
    # vllm/usage/usage_lib.py and vllm/envs.py
    Library(
        "vllm",
        "hardware, cloud provider, architecture of the model and settings, then signs of life",
        (
            Switch("VLLM_NO_USAGE_STATS", "1", _exactly("1")),
            Switch("VLLM_DO_NOT_TRACK", "1", _exactly("1")),
            Switch("DO_NOT_TRACK", "1", _exactly("1")),
        ),
        elsewhere="an empty file do_not_track in vLLM's configuration folder",
    ),
    # ZenML docs, "Environment variables"
    Library(
        "zenml",
        "commands, stacks and pipelines that run, versions, system, an id of the user",
        (Switch("ZENML_ANALYTICS_OPT_IN", "false", _one_of("false")),),
        elsewhere="zenml analytics opt-out",
    ),
)
"""Those whose switches were verified; libraries that send only what a person has set up are left out."""
