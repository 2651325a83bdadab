"""Three example queries, for a person who has the files and for one who has the tables in a warehouse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from metavox_collector.dataset.model import Dataset, DatasetTable
from metavox_collector.dataset.paths import parquet_path

PATH: Final = "listing/queries.sql"


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    Attributes:
        title: What it answers, as a question.
        description: How to read the answer.
        table: The table that it reads.
        sql: In SQL that DuckDB, Snowflake, Databricks and BigQuery understand; ``{table}`` is the table.
    """

    title: str
    description: str
    table: str
    sql: str

    @property
    def over_files(self) -> str:
        """For DuckDB in the pack's directory."""
        return self.sql.format(table=f"'{parquet_path(self.table)}'")

    @property
    def over_tables(self) -> str:
        """For a warehouse that holds the tables under their names."""
        return self.sql.format(table=self.table)


def queries(dataset: Dataset) -> tuple[Query, ...]:
    """The three, over the columns that this release's tables have."""
    performance = dataset.table("performance")
    return (_fastest(performance), _waiting(performance), _hardware(dataset.table("hardware")))


def emit(dataset: Dataset) -> dict[str, bytes]:
    """Write them as one file that DuckDB runs in the pack's directory."""
    parts = (f"-- {query.title}\n-- {query.description}\n{query.over_files};\n" for query in queries(dataset))
    return {
        PATH: (
            "-- Run in the pack's directory, for example: duckdb < listing/queries.sql\n\n" + "\n".join(parts)
        ).encode()
    }


def _fastest(table: DatasetTable) -> Query:
    keys = ", ".join(table.declared.dimensions)
    return Query(
        "On which device does a model write fastest?",
        "Median seconds per token with its 95 % interval; two intervals that overlap show no difference.",
        table.name,
        f"SELECT {keys}, contributors, p50, p50_low, p50_high, 1 / p50 AS tokens_per_second\n"
        "FROM {table}\n"
        "WHERE metric = 'time_per_output_token' AND p50 IS NOT NULL\n"
        "ORDER BY p50\n"
        "LIMIT 20",
    )


def _waiting(table: DatasetTable) -> Query:
    keys = ", ".join(table.declared.dimensions)
    return Query(
        "How much longer than usual does one contribution in ten wait for its first token?",
        "The 90 % quantile beside the median, where the noise lets both be seen.",
        table.name,
        f"SELECT {keys}, contributors, p50, p90, p90 / p50 AS times_longer\n"
        "FROM {table}\n"
        "WHERE metric = 'time_to_first_token' AND p50 IS NOT NULL AND p90 IS NOT NULL\n"
        "ORDER BY contributors DESC\n"
        "LIMIT 20",
    )


def _hardware(table: DatasetTable) -> Query:
    keys = "accelerator_vendor, accelerator_memory"
    return Query(
        "What hardware do the contributors run models on?",
        "Noisy counts of the published cells; those who contributed chose to, and are no sample.",
        table.name,
        f"SELECT {keys}, sum(contributors) AS contributors\n"
        "FROM {table}\n"
        f"GROUP BY {keys}\n"
        "ORDER BY contributors DESC\n"
        "LIMIT 20",
    )
