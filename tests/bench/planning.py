"""Plan and render N approved remaps, one in three of them in a chain: `python -m tests.bench.planning N`, JSON out.

The file in place that a plan is compared with has another target for one of each thousand; a process of its own makes
it (`python -m tests.bench.planning N KIND`, the file out), so that this one's memory is that of a plan alone.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

from redirectd.plan.effective_table import effective
from redirectd.plan.limits import Limits
from redirectd.plan.planning import make_plan
from redirectd.plan.route import Approved
from redirectd.plan.target import Target
from redirectd.plan.target_spec import Installed, TargetSpec
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.targets.asterisk_dialplan import AsteriskDialplan
from redirectd.targets.kamailio_htable import KamailioHtable

_TARGETS: dict[str, Target] = {"htable": KamailioHtable(), "dialplan": AsteriskDialplan()}


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


def before(count: int, name: str) -> bytes:
    """The file of `count` remaps as it was before one in a thousand changed."""
    remaps = [
        each if each.id % 1000 != 5 else Approved(each.id, each.kind, each.old, _sip("sip:another@n.test"))
        for each in approved(count)
    ]
    return _TARGETS[name].render(effective(remaps).routes, None).content


def main(count: int) -> dict[str, float]:
    """Seconds of the processor for each step, and the greatest memory in MB."""
    gc.set_threshold(50_000)  # as the command line does
    remaps = list(approved(count))
    figures: dict[str, float] = {"remaps": count}
    began = time.process_time()
    table = effective(remaps)
    figures["table_s"] = round(time.process_time() - began, 2)
    del remaps
    for name, target in _TARGETS.items():
        began = time.process_time()
        target.render(table.routes, None)
        figures[f"{name}_render_s"] = round(time.process_time() - began, 2)
        command = [sys.executable, "-m", "tests.bench.planning", str(count), name]
        installed = Installed(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        began = time.process_time()
        plan = make_plan(table, [TargetSpec(name, name, target)], {name: installed}, Limits())
        assert plan.targets[0].diff
        figures[f"{name}_plan_s"] = round(time.process_time() - began, 2)
        del plan, installed
    figures["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return figures


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.stdout.buffer.write(before(int(sys.argv[1]), sys.argv[2]))
    else:
        sys.stdout.write(json.dumps(main(int(sys.argv[1]))) + "\n")
