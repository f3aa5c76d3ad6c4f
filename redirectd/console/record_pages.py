"""What is planned, was installed, was decided and is read: the plan, generations, the audit, sources and nodes."""

from __future__ import annotations

from datetime import datetime, timedelta

from starlette.responses import Response

from redirectd.console.access import DeniedError
from redirectd.console.html import NOTICES, PageNotice, number_in, render
from redirectd.console.node_applies import ask_for_apply, plans_of, requested_applies
from redirectd.console.page_routes import PageCall
from redirectd.errors import RedirectdError
from redirectd.plan.planning import Plan
from redirectd.plan.report import troubles
from redirectd.plan.textdiff import unified_diff
from redirectd.service.applying import plan_of
from redirectd.service.start import status_document
from redirectd.store import audit, generations
from redirectd.store.generations import GenerationFile

ROWS = 100


def show_plan(call: PageCall) -> Response:
    """What the next apply on this host changes."""
    plan: Plan | None = None
    why_not: RedirectdError | None = None
    try:
        plan = plan_of(call.desk.config, call.desk.database)
    except RedirectdError as error:
        why_not = error
    return render(
        "plan.html",
        call.visitor,
        page="plan",
        notice=NOTICES.of(call),
        node=call.desk.config.node,
        plan=plan,
        why_not=why_not,
        troubles=[] if plan is None else list(troubles(plan)),
        published=plans_of(call.desk, call.visitor),
        requests=requested_applies(call.desk, 20),
    )


def ask_node(call: PageCall) -> Response:
    """Asks a node to apply a plan as it was shown."""
    asked = ask_for_apply(call.desk, call.visitor, call.form.get("node", ""), call.form.get("checksum", ""))
    notice = PageNotice(f"{asked['node']} is asked to apply {asked['checksum'][:12]}, request {asked['id']}")
    return NOTICES.lead_to("/plan", call.visitor, notice)


def show_generations(call: PageCall) -> Response:
    """What was installed on a node, newest first."""
    node = call.request.query_params.get("node") or call.desk.config.node
    with call.desk.database.read() as connection:
        found = generations.history(connection, node, ROWS)
        files = [generations.files_of(connection, one.number, with_content=False) for one in found]
    rows = [(one, [file.target for file in each]) for one, each in zip(found, files, strict=True)]
    return render("generations.html", call.visitor, page="generations", node=node, nodes=_nodes(call), rows=rows)


def show_generation(call: PageCall) -> Response:
    """One generation: its stages, what it changed, and what going back to it would."""
    number = number_in(call.path_value("name")) or 0
    with call.desk.database.read() as connection:
        found = generations.get_generation(connection, number)
        if found is None:
            raise DeniedError(404, f"there is no generation {number}", "see the list of generations")
        files = generations.files_of(connection, number)
        before = generations.files_at(connection, found.node, number - 1)
        then = generations.files_at(connection, found.node, number)
        newest = generations.standing_number(connection, found.node) or number
        now = generations.files_at(connection, found.node, newest)
    return render(
        "generation.html",
        call.visitor,
        page="generations",
        one=found,
        files=[(file, _diff(before.get(file.target), file)) for file in files],
        back=[(name, diff) for name, file in sorted(then.items()) if (diff := _diff(now.get(name), file))],
        newest=newest,
    )


def _diff(old: GenerationFile | None, new: GenerationFile) -> str:
    content = None if old is None else old.content
    return "" if content == new.content else unified_diff(content, new.content, new.path)


def show_audit(call: PageCall) -> Response:
    """All that was decided, newest first."""
    query = call.request.query_params
    before, remap = number_in(query.get("before", "")), number_in(query.get("remap", ""))
    with call.desk.database.read() as connection:
        rows = audit.newest(connection, before=before, limit=ROWS, remap_id=remap)
    return render(
        "audit.html",
        call.visitor,
        page="audit",
        rows=[(number, one, _via(one.detail.get("via"))) for number, one in rows],
        remap=remap,
        onward=rows[-1][0] if len(rows) == ROWS else None,
    )


def _via(given: object) -> str:
    """The way that a decision came by, in words; empty for the command line of old."""
    if not isinstance(given, dict):
        return ""
    shown = {name: value for name, value in given.items() if name != "request"}
    return ", ".join(str(value) if name == "by" else f"{name} {value}" for name, value in shown.items())


def show_sources(call: PageCall) -> Response:
    """What is read on the console's host, and what was lost anywhere."""
    return render("sources.html", call.visitor, page="sources", status=_status(call))


def show_nodes(call: PageCall) -> Response:
    """Each node with its generation, how long ago it stored something, and what waits for its servers."""
    return render("nodes.html", call.visitor, page="nodes", nodes=_nodes(call), status=_status(call))


def _status(call: PageCall) -> dict[str, object]:
    config = call.desk.config
    document: dict[str, object] = status_document(lambda: config, lambda: call.desk.database, config.file)
    return document


def _nodes(call: PageCall) -> list[tuple[dict[str, object], timedelta | None]]:
    """The nodes as `status` has them, each with the time since it last stored something."""
    nodes = _status(call)["nodes"]
    assert isinstance(nodes, list)
    found = []
    for node in nodes:
        at = node["last_stored"]
        found.append((node, call.desk.clock() - datetime.fromisoformat(at) if at else None))
    return found
