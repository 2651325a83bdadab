"""Where each file of the proof is, relative to the pack's root."""

from __future__ import annotations

SIGNATURE = "signature.dsse.json"
"""The one file that the signed statement does not name."""
SIGNING_KEY = "proof/signing_key.pem"
"""The public half of the key, so that who has no other copy can at least tell that nothing changed since."""
RELEASE = "proof/release.json"
LEDGER = "proof/ledger.json"
PARAMETERS = "proof/parameters.json"
AUDIT = "proof/audit.json"
ATTACKS = "proof/attacks.json"
WORDS = "proof/proof.md"
