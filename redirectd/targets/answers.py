"""Reading Kamailio's RPC replies, whose shape depends on the way they came.

JSON writes a list of records as ``[{"SET": {...}}, {"SET": {...}}]``. binrpc and kamcmd have no lists and
repeat the name within a structure; `redirectd.apply.control` turns that into the same list where a name appears
more than once, and into a plain ``{"SET": {...}}`` where it appears once. kamcmd has texts only, no numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from redirectd.plan.target import Reply


def field(value: Reply, name: str) -> Reply:
    """Give a structure's field; None where it is missing or `value` is not a structure."""
    return value.get(name) if isinstance(value, Mapping) else None


def structs(value: Reply) -> Iterator[Mapping[str, Reply]]:
    """Give the structures of a list of them, or the only one."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            yield item


def records(value: Reply, name: str) -> Iterator[Reply]:
    """Give what is under `name` in each structure of a list, or in the only one."""
    for item in structs(value):
        if name in item:
            yield item[name]
