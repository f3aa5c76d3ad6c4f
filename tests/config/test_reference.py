"""The reference and the commented file come from the model, and the file reads back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from redirectd.config.load import parse
from redirectd.config.model import Config
from redirectd.config.reference import reference, section_of, template, toml
from redirectd.config.values import Section

FILE = Path("/x/redirectd.toml")


def sections(section: type[Section]) -> Iterator[type[Section]]:
    """A section and all below it."""
    yield section
    for field in section.model_fields.values():
        inner = section_of(field)
        if inner is not None:
            yield from sections(inner)


def test_every_key_is_described() -> None:
    """Every key of every section has a description that is a sentence, and stands in the reference."""
    text = reference()
    for section in sections(Config):
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            assert field.description.rstrip().endswith("."), f"{section.__name__}.{name}"
            assert f"`{name}`" in text or f"{name}]" in text, f"{section.__name__}.{name}"


def test_empty_template_is_the_defaults() -> None:
    """A file with every key as a comment says the same as no file."""
    assert parse(template({}), FILE).model_dump() == Config().model_dump()


def test_template_with_every_key_set_reads() -> None:
    """Every key that stands as a comment is valid where its mark is taken away: samples are not made up."""
    lines = template({}).splitlines()
    active = [re.sub(r"^#(?=\S)", "", line) for line in lines]
    text = "\n".join(active)
    # One source can't be of all kinds and no target a file and a table, so the keys of others go.
    for foreign in (
        "units",
        "matches",
        "listen",
        "allowed_senders",
        "database",
        "table",
        "nodes",
        "database_password_file",
    ):
        text = re.sub(rf"(?m)^{foreign} = .*$", "", text, count=1)
    config = parse(text, FILE)
    assert config.source[0].name == "asterisk"
    assert config.target[0].kind == "kamailio-dispatcher"
    assert config.policy.auto_approve is not None


def test_template_sets_what_is_given() -> None:
    """Given values stand uncommented in their own tables, repeated tables as often as given."""
    found = {
        "source": [{"name": "a", "path": "/a"}, {"name": "b", "path": "/b", "timezone": "UTC"}],
        "policy": {"own_domains": ["example.net"]},
        "target": [{"name": "t", "kind": "kamailio-htable", "path": "/t", "table": "x"}],
    }
    config = parse(template(found), FILE)
    assert [(source.name, source.timezone) for source in config.source] == [("a", ""), ("b", "UTC")]
    assert config.policy.own_domains == ["example.net"]
    assert config.target[0].table == "x"


def test_toml_strings_are_escaped() -> None:
    """A value with quotes, backslashes or control characters reads back as itself."""
    value = 'a"b\\c\n\x7f\u2028é'
    assert parse(f'[[source]]\nname = "n"\npath = {toml(value)}\n', FILE).source[0].path == Path(value)
