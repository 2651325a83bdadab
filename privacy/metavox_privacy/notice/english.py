"""The words in English."""

from __future__ import annotations

from typing import Final

from metavox_privacy.notice.words import Words

ENGLISH: Final = Words(
    paragraphs={
        "MetaVox": "can contribute statistics on how fast models run here. That is off until you say yes, and "
        "nothing in the software depends on your answer.",
        "Who": "Whoever runs the collector that you name in METAVOX_COLLECTOR_URL is the controller and decides "
        "what is done with them. None is built in.",
        "What": "Once a week, counts of your runs by {dimensions}; in each group the spread of {metrics}. Names "
        "are of public lists, numbers are ranges, time is the week.",
        "Never": "Prompts, answers, file names or paths, names of private models, user or host names, addresses, "
        "ids of you or of this machine.",
        "Why": "improve: statistics for the maintainers. publish: datasets, with noise, that are "
        "published and SOLD to hardware vendors, cloud providers, software companies, researchers and analysts.",
        "Kept": "Here for 28 days and to the next counted run, or to your no. At the collector until the week is "
        "closed, at most 30 days; then noisy sums.",
        "Rights": "Legal basis: consent (GDPR Art. 6(1)(a)). Withdraw any time: metavox telemetry off; --delete "
        "erases what is not released. Rights to access, erasure and portability; "
        "complaint to a data protection authority.",
    },
    questions={
        "improve": "Send weekly statistics to help improve MetaVox?",
        "publish": "Include your weekly statistics in datasets that are published and sold?",
    },
    fields={},  # a field's name in the schema is its word in English
    choices="[y/N]",
    yes=("y", "yes"),
    hint="Enter means no; p shows the exact bytes {example} would add.",
)
