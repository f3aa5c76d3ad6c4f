"""All pages of the console: each with the least role that may see it, or use its form."""

from __future__ import annotations

from redirectd.console.html import show_error, show_sign_in, static_file
from redirectd.console.page_routes import ConsolePage, PageSet
from redirectd.console.queue_page import QUEUE, decide_chosen, show_queue, take_back
from redirectd.console.record_pages import (
    ask_node,
    show_audit,
    show_generation,
    show_generations,
    show_nodes,
    show_plan,
    show_sources,
)
from redirectd.console.remap_page import decide_remap, show_remap
from redirectd.store.tokens import Role

PAGES = PageSet(
    (
        ConsolePage("GET", "/", Role.VIEWER, show_queue),
        ConsolePage("GET", QUEUE, Role.VIEWER, show_queue),
        ConsolePage("POST", QUEUE, Role.REVIEWER, decide_chosen),
        ConsolePage("GET", "/remaps/{name}", Role.VIEWER, show_remap),
        ConsolePage("POST", "/remaps/{name}", Role.REVIEWER, decide_remap),
        ConsolePage("POST", "/undo/{name}", Role.REVIEWER, take_back),
        ConsolePage("GET", "/plan", Role.VIEWER, show_plan),
        ConsolePage("POST", "/plan", Role.APPLIER, ask_node),
        ConsolePage("GET", "/generations", Role.VIEWER, show_generations),
        ConsolePage("GET", "/generations/{name}", Role.VIEWER, show_generation),
        ConsolePage("GET", "/audit", Role.VIEWER, show_audit),
        ConsolePage("GET", "/sources", Role.VIEWER, show_sources),
        ConsolePage("GET", "/nodes", Role.VIEWER, show_nodes),
        ConsolePage("GET", "/static/{name}", None, static_file),
    ),
    show_error,
    show_sign_in,
)
