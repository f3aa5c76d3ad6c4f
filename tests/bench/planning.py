"""Plan and render N approved remaps, one in three of them in a chain: `python -m tests.bench.planning N`, JSON out."""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Iterator

from redirectd.plan.limits import Limits
from redirectd.plan.plan import make_plan
from redirectd.plan.route import Approved
from redirectd.plan.spec import Installed, TargetSpec
from redirectd.plan.table import effective
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.kamailio_htable import KamailioHtable


def approved(count: int) -> Iterator[Approved]:
    """Remaps of users at 50 hosts; three of ten lead to the next one's old URI, so chains have up to four hops."""
    for number in range(count):
        new = (
            f"sip:u{number + 1}@h{(number + 1) % 50}.test"
            if number % 10 < 3
            else f"sip:new{number}@n{number % 70}.test:5080;transport=tcp"
        )
        yield Approved(number + 1, "user", _sip(f"sip:u{number}@h{number % 50}.test"), _sip(new))


def _sip(text: str) -> SipUri:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    return uri


def main(count: int) -> dict[str, float]:
    """Seconds of the processor for each step, and the greatest memory in MB."""
    gc.set_threshold(50_000)  # as the command line does
    remaps = list(approved(count))
    figures: dict[str, float] = {"remaps": count}
    began = time.process_time()
    table = effective(remaps)
    figures["table_s"] = round(time.process_time() - began, 2)
    for name, target in (("htable", KamailioHtable()), ("dialplan", AsteriskDialplan())):
        began = time.process_time()
        content = target.render(table.routes, None).content
        figures[f"{name}_render_s"] = round(time.process_time() - began, 2)
        began = time.process_time()
        make_plan(table, [TargetSpec(name, name, target)], {name: Installed(content)}, Limits())
        figures[f"{name}_plan_s"] = round(time.process_time() - began, 2)
    figures["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return figures


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]))) + "\n")
