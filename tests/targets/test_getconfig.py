"""What Asterisk's answer to GetConfig says about a file that is not in service yet."""

from __future__ import annotations

import pytest

from redirectd.plan.target import ServerFault
from redirectd.targets.getconfig import reads

QUESTION = reads("/etc/asterisk/.x", "last", "exten", ["generation,1,Return(abc)"])
HEAD = {"response": ["Success"], "category-000000": ["last"]}


@pytest.mark.parametrize("text", ["Config file not found", "Permission denied", "File requires escalated priveledges"])
def test_what_asterisk_cannot_see_is_no_verdict(text: str) -> None:
    """Another host, another folder or an account without the class leaves it to the other proofs."""
    assert QUESTION.judge(ServerFault(0, text)) is None


def test_a_file_that_asterisk_gives_up_is_a_fault() -> None:
    """Its own word is told."""
    doubt = QUESTION.judge(ServerFault(0, "Config file has invalid format"))
    assert doubt == "Asterisk's reading of the file: Config file has invalid format"


def test_the_last_category_must_be_read_as_meant() -> None:
    """A reading that ended before it, or that read something else, is a fault that shows both."""
    assert QUESTION.judge(HEAD | {"line-000000-000000": ["exten=generation,1,Return(abc)"]}) is None
    assert QUESTION.judge({"response": ["Success"]}) == (
        "Asterisk reads exten nothing in [last] instead of generation,1,Return(abc)"
    )
    doubt = QUESTION.judge(HEAD | {"line-000000-000000": ["exten=generation,1,Return(x\ny)"]})
    assert doubt is not None
    assert "\n" not in doubt
