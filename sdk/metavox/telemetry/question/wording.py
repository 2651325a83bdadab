"""What is said around the question, in the languages of the notice: how to answer it, and what an answer means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metavox_privacy.fields import PURPOSES

if TYPE_CHECKING:
    from metavox_privacy.consent import Answer
    from metavox_privacy.notice import Language


@dataclass(frozen=True, slots=True)
class Wording:
    """One language.

    Attributes:
        this_run: Whose bytes these are: those of the run before the question.
        made_up_run: The same, where nothing has run.
        example: What is said above the bytes.
        nothing: What is said in place of them, where there are none.
        base64: What is said above the bytes themselves.
        deployment: What a receipt for servers means, before it is asked for.
        thanks: What a yes means; ``{yes}`` names the purposes, ``{no}`` the rest of the sentence.
        but_not: The rest of it, for a ``{purpose}`` that was refused.
        both: How two purposes are joined.
        not_now: What "not now" means.
        never: What a no means.
        bytes_title: The title under which a panel shows the bytes.
        save: The button that records the answer.
        later: The button that says "not now".
        as_before: What is said when nothing was answered.
        unchanged: What is said when an earlier answer stands; ``{state}`` is it.
        is_on: ``{state}`` of a yes.
        is_off: ``{state}`` of anything else.
        take_back: How a panel takes an earlier yes back.
    """

    this_run: str
    made_up_run: str
    example: str
    nothing: str
    base64: str
    deployment: str
    thanks: str
    but_not: str
    both: str
    not_now: str
    never: str
    bytes_title: str
    save: str
    later: str
    as_before: str
    unchanged: str
    is_on: str
    is_off: str
    take_back: str


WORDING: Mapping[Language, Wording] = {
    "en": Wording(
        this_run="a run like this",
        made_up_run="a made-up run",
        example="An example: what ran before a yes is never counted.",
        nothing="There are none: {whose} would add nothing.",
        base64="The same {size} bytes in base64:",
        deployment="A receipt says yes for the servers and containers that it is given to, for a year; answer only "
        "if you may decide for them. For yourself it changes nothing.",
        thanks="Thank you. On from now to {yes}{no}. 'metavox telemetry off' ends it.",
        but_not="; not to {purpose}",
        both=" and ",
        not_now="Not now: nothing is kept or sent.",
        never="No: nothing is kept or sent, and you will not be asked again.",
        bytes_title="The exact bytes a made-up run would add",
        save="Save my answer",
        later="Not now",
        as_before="Nothing was answered, so everything is as it was.",
        unchanged="Nothing has changed: {state}.",
        is_on="contributions are on",
        is_off="contributions are off",
        take_back="You have said yes before. Saving with neither box ticked takes it back.",
    ),
    "it": Wording(
        this_run="un'esecuzione simile",
        made_up_run="un'esecuzione finta",
        example="Un esempio: ciò che è avvenuto prima di un sì non viene mai contato.",
        nothing="Non ce ne sono: {whose} non aggiungerebbe nulla.",
        base64="Gli stessi {size} byte in base64:",
        deployment="Una ricevuta dice sì per i server e i container a cui viene data, per un anno; rispondi solo "
        "se puoi decidere per loro. Per te non cambia nulla.",
        thanks="Grazie. Acceso da ora per {yes}{no}. 'metavox telemetry off' lo spegne.",
        but_not="; non per {purpose}",
        both=" e ",
        not_now="Non ora: nulla viene conservato o inviato.",
        never="No: nulla viene conservato o inviato, e la domanda non sarà ripetuta.",
        bytes_title="I byte esatti che un'esecuzione finta aggiungerebbe",
        save="Salva la mia risposta",
        later="Non ora",
        as_before="Nessuna risposta: tutto resta com'era.",
        unchanged="Non è cambiato nulla: {state}.",
        is_on="i contributi sono accesi",
        is_off="i contributi sono spenti",
        take_back="Hai già detto di sì. Salvare senza spuntare nessuna casella lo revoca.",
    ),
}
"""Each language of the notice has all of it."""


def outcome(answer: Answer) -> str:
    """What an answer means, in one sentence of its language."""
    words = WORDING[answer.language]
    if answer.purposes:
        refused = "".join(words.but_not.format(purpose=one) for one in PURPOSES if one not in answer.purposes)
        granted = words.both.join(one for one in PURPOSES if one in answer.purposes)
        return words.thanks.format(yes=granted, no=refused)
    return words.not_now if answer.ask_again_after is not None else words.never
