"""template: any grammar, escaped by filters and read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirectd.plan.route import Route
from redirectd.plan.target import TargetError
from redirectd.targets.template import ESCAPES, Template
from tests.targets.uris import route, routes

LINES = b"# {{ token }}\n{% for r in routes %}{{ r.old|FILTER }} => {{ r.new|FILTER }}\n{% endfor %}"
ENTRY = r"^(?P<old>\S+) => (?P<new>\S+)$"


@pytest.mark.parametrize("escape", ESCAPES)
@given(found=routes())
def test_every_escape_is_undone(escape: str, found: list[Route]) -> None:
    """For any routes the file is read back as it was meant, by each grammar's escaping."""
    target = Template(entry=ENTRY, escape=escape)
    rendered = target.render(found, LINES.replace(b"FILTER", escape.encode()))
    assert target.parse(rendered.content) == rendered.entries


@pytest.mark.parametrize("escape", ESCAPES)
@given(text=st.text(st.sampled_from("aB9-_.!~*'()&=+$,;?/:@[]%"), min_size=1))
def test_escapes_are_inverse(escape: str, text: str) -> None:
    """Unescaping what was escaped gives the text, for every character that a URI can have."""
    forward, back = ESCAPES[escape]
    assert back(forward(text)) == text


def test_a_freeswitch_like_file() -> None:
    """XML with attributes: ampersands and quotes are entities."""
    row = b'<m u="{{ r.user|xml }}" h="{{ r.host }}" k="{{ r.old|xml }}" n="{{ r.new|xml }}"/>'
    base = b"{% for r in routes %}" + row + b"\n{% endfor %}"
    target = Template(entry=r'k="(?P<old>[^"]*)" n="(?P<new>[^"]*)"', escape="xml")
    rendered = target.render([route(1, "sip:a'b@H", "sip:c&d@h;x=1")], base)
    assert rendered.content == b'<m u="a&#x27;b" h="h" k="a&#x27;b@h" n="sip:c&amp;d@h;x=1"/>\n'


@pytest.mark.parametrize(
    "base",
    [
        b"{{ nothing }}",
        b"{{ routes[0].new",
        b"{{ ''.__class__.__mro__[1].__subclasses__() }}",
        b"{% include '/etc/passwd' %}",
        b"{{ 1 // 0 }}",
        b"\xff",
        b"{% for r in routes %}{{ r.old }} => {{ r.new|upper }}\n{% endfor %}",
        b"{% for r in routes %}{{ r.old }} => {{ r.new }}\n{{ r.old }} => {{ r.new }}\n{% endfor %}",
        b"no routes at all",
    ],
)
def test_a_template_that_fails_or_lies_is_refused(base: bytes) -> None:
    """Undefined names, Python, files, and results that say something else than was meant end in TargetError."""
    with pytest.raises(TargetError):
        Template(entry=ENTRY).render([route(1, "sip:a@b", "sip:c@d")], base)
