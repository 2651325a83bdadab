"""The record of processing activities: Art. 30(1) for the controller, Art. 30(2) for processors."""

from __future__ import annotations

from typing import Final

from metavox_collector.dataset.gdpr.case import Case
from metavox_collector.dataset.gdpr.measures import measures_of
from metavox_collector.dataset.gdpr.operations import EEA
from metavox_collector.dataset.gdpr.statements import Document, Fact, Section, confirm, declared, derived, fill
from metavox_privacy.fields import PURPOSES, Dimension, Metric
from metavox_privacy.notice import QUESTIONS
from metavox_privacy.receipt_graph import BUYERS
from metavox_privacy.retention import RETENTION
from metavox_privacy.schema import Schema

VERSION: Final = "1.0"


def record(case: Case) -> Document:
    """The record, with one section for each letter of Art. 30(1) and 30(2)."""
    return case.document(
        "record",
        "Record of processing activities",
        "Art. 30 GDPR",
        VERSION,
        Section(
            "30(1)(a)", "Controller, joint controllers, representative, data protection officer", controller(case)
        ),
        Section("30(1)(b)", "Purposes", purposes()),
        Section("30(1)(c)", "Categories of data subjects and of personal data", (*subjects(), *data(case))),
        Section("30(1)(d)", "Categories of recipients", recipients(case)),
        Section("30(1)(e)", "Transfers to third countries", transfers(case)),
        Section("30(1)(f)", "Time limits for erasure", time_limits(case)),
        Section("30(1)(g)", "Technical and organisational security measures", _security(case)),
        Section("30(2)(a)", "Processors, and for whom they act", processors(case)),
        Section("30(2)(b)", "Categories of processing for the controller", _processing(case)),
        Section("30(2)(c)", "Transfers by processors", _processors_transfers(case)),
        Section("30(2)(d)", "Security measures of processors", _processors_security(case)),
    )


def named(case: Case) -> tuple[Fact, ...]:
    """The controller as the settings name it: name, address, how it is written to."""
    publisher = case.dataset.publisher
    if case.dataset.synthetic:
        words = f"Synthetic: nobody's data went into it, and no controller answers for it; {publisher.name}."
        return (derived(words, "release: label"),)
    return (
        declared(publisher.name, "controller_name", "The controller is ", "."),
        declared(publisher.address, "controller_address", "Postal address: "),
        declared(publisher.email, "controller_email", "Electronic address: "),
    )


def controller(case: Case) -> tuple[Fact, ...]:
    """Who is responsible, and who stands beside them."""
    publisher = case.dataset.publisher
    facts = [*named(case)]
    if not case.dataset.synthetic:
        facts += [
            declared(publisher.url, "controller_url", "Website: "),
            declared(publisher.country, "controller_country", "Country of establishment: "),
            declared(publisher.dpo, "dpo_contact", "Data protection officer: "),
        ]
    facts.append(confirm("There is no joint controller (Art. 26)."))
    if publisher.country and publisher.country not in EEA:
        facts.append(fill("Representative in the Union (Art. 27), for the controller is not established there: …"))
    return tuple(facts)


def purposes() -> tuple[Fact, ...]:
    """The two purposes in the words in which people were asked."""
    asked = tuple(
        derived(f"{purpose}: as people are asked, “{QUESTIONS['en'][purpose]}”", "code: metavox_privacy.notice")
        for purpose in PURPOSES
    )
    return (
        *asked,
        derived("Each purpose has a consent of its own (Art. 6(1)(a), 7).", "code: metavox_privacy.consent"),
    )


def subjects() -> tuple[Fact, ...]:
    """Whose data these are."""
    return (
        derived(
            "People who run language models with an instrumented program, and have said yes for their own "
            "installation, or for a deployment that they answer for.",
            "code: metavox_privacy.consent",
        ),
        confirm("No children are addressed; the software asks nobody's age (Art. 8)."),
    )


def data(case: Case) -> tuple[Fact, ...]:
    """Every field of a report, from the schema."""
    schema = case.dataset.schema
    return (
        *(_dimension(dimension) for dimension in schema.dimensions),
        *(_metric(metric) for metric in schema.metrics),
        derived("The ISO week, and the purposes that were granted.", "code: metavox_privacy.report"),
        derived(
            "The address from which a request comes, in memory while it is answered, and counts of requests "
            "under a hash of its block with a random key.",
            "code: metavox_collector.admission",
        ),
        derived(
            "No special category of data (Art. 9) and no data on offences (Art. 10): no field of the schema "
            "can hold any.",
            "schema: fields",
        ),
    )


def fields_of(schema: Schema) -> list[Dimension | Metric]:
    """Everything that a report can hold, in the schema's order."""
    return [*schema.dimensions, *schema.metrics]


def recipients(case: Case) -> tuple[Fact, ...]:
    """Who receives what: reports go to nobody, sums with noise to the buyers that the notice names."""
    return (
        derived(
            "Reports: no recipient beside the controller and the processors below; no command and no endpoint "
            "shows a report.",
            "code: metavox_collector.endpoints",
        ),
        *(
            declared(f"{one.name}, which {one.purpose}", "processors", "Processor: ", ".")
            for one in case.operations.processors
        ),
        derived(
            "Sums with noise for the purpose improve: the maintainers of MetaVox.", "code: metavox_privacy.notice"
        ),
        derived(
            f"Sums with noise for the purpose publish: the public, and as buyers {', '.join(BUYERS)}.",
            "code: metavox_privacy.receipt_graph",
        ),
    )


def transfers(case: Case) -> tuple[Fact, ...]:
    """Whether a third country is involved, as far as settings tell."""
    operations = case.operations
    facts = [declared(operations.hosting_country, "hosting_country", "Reports are staged in: ")]
    outside = sorted(operations.countries - EEA)
    if outside:
        facts.append(
            fill(
                f"Outside the European Economic Area: {', '.join(outside)}. The adequacy decision in force "
                "(Art. 45) or the safeguards (Art. 46), with their documentation: …"
            )
        )
    elif operations.hosting_country:
        facts.append(
            derived(
                "Every country that the settings name is in the European Economic Area: staging transfers nothing.",
                "setting: hosting_country",
            )
        )
    return (*facts, confirm("Whether publication of sums with noise is a transfer: see transfers.md."))


def time_limits(case: Case) -> tuple[Fact, ...]:
    """How long anything is kept: the promise to everybody, and this collector's setting."""
    return (
        *(
            derived(
                f"In the words in which people are told: “{what}, {where}: {how_long}”.",
                "code: metavox_privacy.retention",
            )
            for what, where, how_long in RETENTION
        ),
        derived(
            f"At this collector a report is staged for {case.operations.kept_days} days after its week's end at "
            f"most, and a week can be closed {case.operations.grace_days} days after its end.",
            "setting: accept_weeks",
        ),
    )


def processors(case: Case) -> tuple[Fact, ...]:
    """The processors that the settings name, and whom they act for."""
    named = case.operations.processors
    if not named:
        return (
            derived("The settings name no processor.", "setting: processors"),
            confirm("Nobody else can reach the database or the machine under it: no hosting company, no support."),
        )
    on_behalf = f", on behalf of {case.dataset.publisher.name}."
    return (
        *(
            declared(f"{one.name} ({one.country}), which {one.purpose}", "processors", after=on_behalf)
            for one in named
        ),
        fill("Their contact details, representatives and data protection officers: …"),
    )


def _dimension(dimension: Dimension) -> Fact:
    words = dimension.vocabulary
    return derived(
        f"{dimension.name} ({dimension.attribute}): one of {len(words)} public words. Why: "
        f"{dimension.reason}. Sensitivity {dimension.sensitivity}. Recorded before "
        f"{dimension.expires.isoformat()}, for {' and '.join(dimension.purposes)}.",
        f"schema: {dimension.name}",
    )


def _metric(metric: Metric) -> Fact:
    return derived(
        f"{metric.name} ({metric.attribute}): a histogram of {metric.buckets} buckets, in {metric.unit}. Why: "
        f"{metric.reason}. Sensitivity {metric.sensitivity}. Recorded before {metric.expires.isoformat()}, "
        f"for {' and '.join(metric.purposes)}.",
        f"schema: {metric.name}",
    )


def _security(case: Case) -> tuple[Fact, ...]:
    return tuple(measure.fact for measure in measures_of(case))


def _processing(case: Case) -> tuple[Fact, ...]:
    facts = tuple(
        declared(f"{one.name}: {one.purpose}", "processors", after=".") for one in case.operations.processors
    )
    if case.operations.folds_on_cluster:
        facts += (
            derived("Sums of a week are made on a Spark cluster, which keeps nothing.", "setting: spark_master"),
            confirm("Whoever runs that cluster is named among the processors, or it is the controller's own."),
        )
    return facts or (derived("None: the settings name no processor.", "setting: processors"),)


def _processors_transfers(case: Case) -> tuple[Fact, ...]:
    facts = tuple(
        fill(f"{one.name} is in {one.country}: the adequacy decision (Art. 45) or the safeguards (Art. 46): …")
        for one in case.operations.processors
        if one.country not in EEA
    )
    return facts or (
        derived("No processor of the settings is outside the European Economic Area.", "setting: processors"),
    )


def _processors_security(case: Case) -> tuple[Fact, ...]:
    if not case.operations.processors:
        return (derived("None: the settings name no processor.", "setting: processors"),)
    return (fill("The measures that each processor has agreed to, see processor-terms.md, clause (c): …"),)
