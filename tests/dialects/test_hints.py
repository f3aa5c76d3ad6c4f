"""What a log without answers says about itself."""

from __future__ import annotations

from pathlib import Path

from redirectd.dialects.hints import count, hints


def test_a_messages_log_says_what_to_switch_on(corpus: Path) -> None:
    """Notices and warnings alone hold no SIP; with verbose lines in the file nothing of the kind is said."""
    quiet = (corpus / "asterisk/ast16-messages-only.log").read_bytes()
    [hint] = hints(count(quiet))
    assert (hint.name, "pjsip.conf" in hint.setting) == ("asterisk-no-sip", True)
    verbose = (corpus / "asterisk/ast22-pjsip.full.log").read_bytes()
    assert "asterisk-no-sip" not in {hint.name for hint in hints(count(verbose))}
