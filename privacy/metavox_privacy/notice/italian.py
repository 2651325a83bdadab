"""The words in Italian: the same paragraphs, in the same order, with the same lists."""

from __future__ import annotations

from typing import Final

from metavox_privacy.notice.words import Words

# Every letter is of code page 437 too, which old terminals have: hence "tutto è spento", and no "È spento".
ITALIAN: Final = Words(
    paragraphs={
        "MetaVox": "può inviare statistiche sulla velocità dei modelli qui. Tutto è spento finché non dici di sì; "
        "nulla nel software dipende dalla risposta.",
        "Chi": "Chi gestisce il collettore che indichi in METAVOX_COLLECTOR_URL è il titolare del trattamento e "
        "decide che cosa farne. Nessuno è incluso.",
        "Cosa": "Ogni settimana, conteggi d'uso per {dimensions}; per gruppo la distribuzione di {metrics}. "
        "Nomi di elenchi pubblici, numeri a fasce, tempo a settimane.",
        "Mai": "Prompt, risposte, nomi o percorsi di file, nomi di modelli privati, di utenti o di host, "
        "indirizzi, identificativi tuoi o della macchina.",
        "Perché": "improve: statistiche per chi mantiene MetaVox. publish: dataset, con rumore, "
        "pubblicati e VENDUTI a produttori di hardware, fornitori di cloud, aziende di software, ricercatori e "
        "analisti.",
        "Durata": "Qui 28 giorni e fino alla prossima esecuzione contata, o al tuo no. Nel collettore finché la "
        "settimana è aperta, al più 30 giorni; poi somme con rumore.",
        "Diritti": "Base giuridica: consenso (GDPR art. 6(1)(a)). Revoca quando vuoi: metavox telemetry off; "
        "--delete cancella ciò che non è pubblicato. Accesso, cancellazione, portabilità; "
        "reclamo all'autorità (Garante).",
    },
    questions={
        "improve": "Inviare statistiche settimanali per aiutare a migliorare MetaVox?",
        "publish": "Includere le tue statistiche in dataset pubblicati e venduti?",
    },
    fields={
        "accelerator": "acceleratore",
        "accelerator_count": "numero",
        "accelerator_memory": "memoria",
        "accelerator_vendor": "produttore",
        "driver_major": "driver",
        "model": "modello",
        "architecture": "architettura",
        "parameters": "parametri",
        "quantization": "quantizzazione",
        "engine": "motore",
        "engine_version": "versione",
        "os": "sistema",
        "cpu_arch": "CPU",
        "concurrency": "parallelismo",
        "input_tokens": "token letti",
        "output_tokens": "token scritti",
        "streaming": "streaming",
        "time_to_first_token": "attesa del primo token",
        "time_per_output_token": "tempo per token",
        "peak_device_memory": "memoria massima",
        "error_rate": "errori",
    },
    choices="[s/N]",
    yes=("s", "si", "sì", "y", "yes"),
    hint="Invio vale no; p mostra i byte esatti che {example} aggiungerebbe.",
)
