"""What Asterisk's configuration needs so that redirectd can read its log, and it can look up what redirectd writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from redirectd.cli.snippets.snippet_part import Fit, Part, Wrong
from redirectd.plan.target import Lines
from redirectd.serverconf.asterisk_conf import AsteriskConf, ConfSection, Setting

FILES = ("pjsip.conf", "logger.conf", "extensions.conf", "manager.conf", "asterisk.conf")
"""What is read, each with its includes."""

ODBC_FILES = ("func_odbc.conf", "res_odbc.conf", "modules.conf")
"""What is read as well where a target is asked for by func_odbc."""

ODBC_INI = "odbc.ini"
"""unixODBC's file, which Asterisk's own ones name a section of."""

_DATES = "%FT%T.%6q%z"
_DIAL = re.compile(
    r"(?:(?P<priority>\w+)(?:\([^)]*\))?,)?\s*Dial\((?P<dialled>PJSIP/(?P<user>\$\{[^@/]+\})@(?P<trunk>[^,)@/]+))"
)
_EXTEN = re.compile(r"(?P<pattern>[^,]+),(?P<rest>.*)")
_MOST_DIALS = 20
_OCTAL = re.compile(r"[0-7]{1,8}")
_AMI_USER = re.compile(r"amis?://([^@/]+)@")
_PERMISSIONS = "system,command,reporting,config"
_ODBC_MODULES = ("res_odbc_transaction.so", "res_odbc.so", "func_odbc.so")


@dataclass(frozen=True, slots=True)
class OdbcTable:
    """A table that Asterisk asks: the section of func_odbc.conf, its statement, and what the file `ini` says of it."""

    function: str
    statement: str
    place: str
    ini: str


@dataclass(frozen=True, slots=True)
class AsteriskTarget:
    """What of a ``[[target]]`` concerns Asterisk's files; `sections` are those of its base file.

    One that is kept in a database has no `path`.
    """

    name: str
    kind: str
    path: str
    reload: str = "none"
    lines: Lines | None = None
    sections: frozenset[str] = frozenset()
    odbc: OdbcTable | None = None


@dataclass(slots=True)
class AsteriskFiles:
    """The files of FILES by name, as they were read in `folder`; `logs` are the files that redirectd reads."""

    folder: str
    confs: Mapping[str, AsteriskConf] = field(default_factory=dict)
    logs: Sequence[str] = ()

    def __getitem__(self, name: str) -> AsteriskConf:
        """Give a file, empty where there is none."""
        return self.confs.get(name, AsteriskConf())

    def fit(self) -> Fit:
        """Give an empty fit of the files that were read, with what is in doubt."""
        read = [conf.main for conf in self.confs.values() if conf.main]
        doubts = dict.fromkeys(doubt for conf in self.confs.values() for doubt in conf.doubts)
        return Fit(";", read, list(doubts))


def fit_asterisk(files: AsteriskFiles, targets: Sequence[AsteriskTarget], installed: str | None) -> Fit:
    """Compare the files with what the targets need; with `installed` the contexts belong into that file."""
    fitting = _AsteriskFitting(files, targets)
    fit = fitting.fit
    fitting.pjsip()
    fitting.logger()
    fitting.extensions()
    fitting.odbc()
    fitting.control()
    fit.block = "\n\n".join(fitting.end)
    if installed is None:
        if fit.block:
            fitting.at_end("extensions.conf", fit.block)
    elif files["extensions.conf"].include(installed) is None:
        fitting.at_end("extensions.conf", f"#tryinclude {installed}")
    fitting.calls()
    return fit


class _AsteriskFitting:
    def __init__(self, files: AsteriskFiles, targets: Sequence[AsteriskTarget]) -> None:
        self.files = files
        self.targets = targets
        self.fit = files.fit()
        self.end: list[str] = []

    def at_end(self, name: str, text: str, why: str = "") -> None:
        conf = self.files[name]
        words = "at the end of the file" if conf.main else f"at the end of {name}"
        missing = f"{self.files.folder}/{name}" if self.files.folder else ""
        self.fit.parts.append(Part(conf.main or missing, "end", words, text, why=why))

    def _into(self, name: str, section: str, line: str, why: str = "", head: str = "") -> None:
        """Add a line to a section that is there, or the section with it."""
        conf = self.files[name]
        found = [one for one in conf.named(section) if "!" not in one.modifiers]
        if found:
            words = f"into the [{section}] you have"
            self.fit.add(found[0].place, "after", words, line, why)
        elif not conf.main and conf.doubts:
            words = f"{name}, which could not be read: into the [{section}] it has, or with a new one"
            self.fit.add(None, "by-hand", words, f"[{section}]\n{head}{line}", why)
        else:
            self.at_end(name, f"[{section}]\n{head}{line}", why)

    def _twice(self, name: str, section: str, what: str) -> None:
        found = [one for one in self.files[name].named(section) if not one.adds]
        for one in found[1:]:
            why = f"a second [{section}], beside that of {found[0].place}: {what}"
            self.fit.wrong.append(Wrong(str(one.place), why, "move its lines into the first, and take it out"))

    def pjsip(self) -> None:
        conf = self.files["pjsip.conf"]
        self._twice("pjsip.conf", "global", "Asterisk drops both, and still says that it reloaded")
        found = conf.get("global", "debug")
        if found is None:
            why = "The pjsip logger: what redirectd reads."
            self._into("pjsip.conf", "global", "debug=yes", why, "type=global\n")
        elif found.is_off:
            self.fit.change(found.place, "debug=yes", "the pjsip logger is off, and SIP is what redirectd reads")
        for target in self.targets:
            if target.kind == "asterisk-pjsip-aor" and target.path:
                self._aors(conf, target)

    def _aors(self, conf: AsteriskConf, target: AsteriskTarget) -> None:
        own = conf.include(target.path)
        if own is None:
            self.at_end("pjsip.conf", f"#tryinclude {target.path}", f"The AORs of target {target.name}.")
        for section in conf.sections:
            if section.name in target.sections and section.place.file != target.path and not section.adds:
                kind = section.get("type")
                if kind is not None and kind.value.lower() != "aor":
                    continue  # the endpoint of the same name is another object
                why = (
                    f"[{section.name}] is in the base of target {target.name}, too: a second one has pjsip.conf refused"
                )
                self.fit.wrong.append(Wrong(str(section.place), why, "take it out here: the target's file has it"))

    def logger(self) -> None:
        conf = self.files["logger.conf"]
        for section in ("general", "logfiles"):
            self._twice("logger.conf", section, "Asterisk ignores it")
        dates = conf.get("general", "dateformat")
        if dates is None:
            why = "The year and the zone in the dates keep them unmistakable."
            self._into("logger.conf", "general", f"dateformat={_DATES}", why)
        elif not re.search("%[FYcD+sG]", dates.value):
            self.fit.change(dates.place, f"dateformat={_DATES}", "the dates of the log have no year")
        entries = [one for one in conf.settings("logfiles") if one.name != "console"]
        if any(_verbose(one) for one in entries):
            self._other_log([one.name for one in entries if _verbose(one)])
            return
        full = next((one for one in entries if one.name == "full"), None)
        why = "the pjsip logger writes at level verbose"
        if full is not None:
            self.fit.change(full.place, f"full => {full.value},verbose", f"{why}, which this file does not get")
        else:
            rotate = "\nEach redirected call costs about 10 to 13 kB of log: see that logrotate takes care of it."
            self._into("logger.conf", "logfiles", "full => notice,warning,error,verbose", f"T{why[1:]}.{rotate}")

    def _other_log(self, names: Sequence[str]) -> None:
        if self.files.logs and not any(name.rpartition("/")[2] in log for name in names for log in self.files.logs):
            name = ", ".join(names)
            self.fit.notes.append(
                f"SIP goes to {name} of Asterisk's log folder, and no [[source]] of redirectd reads that."
            )

    def extensions(self) -> None:
        conf = self.files["extensions.conf"]
        for target in self.targets:
            if target.kind == "asterisk-dialplan" and conf.include(target.path) is None:
                self.end.append(f'; target "{target.name}"\n#tryinclude {target.path}')
        for text in dict.fromkeys(target.lines.beside for target in self.targets if target.lines):
            self._context(conf, text.rstrip("\n"))

    def _context(self, conf: AsteriskConf, text: str) -> None:
        name = context_of(text)
        own = conf.named(name)
        if not own:
            self.end.append(text)
        elif [_plain(f"{one.name}=>{one.value}") for one in own[0].settings] != _steps(text):
            place, end = own[0].place, own[0].end or own[0].place
            why = f"[{name}] is not that of this version"
            self.fit.parts.append(Part(place.file, "replace", f"in place of [{name}]", text, place.line, end.line, why))
            what = "put what 'redirectd snippet asterisk' prints in its place"
            self.fit.wrong.append(Wrong(str(place), why, what))

    def odbc(self) -> None:
        """See that func_odbc has the functions, and a database to ask."""
        tables = [(target.name, target.odbc) for target in self.targets if target.odbc is not None]
        if tables:
            self._odbc_modules()
        for name, table in tables:
            self._database(self._function(name, table), table)

    def _function(self, name: str, table: OdbcTable) -> str:
        """Give the section of res_odbc.conf that the function of a table asks."""
        conf = self.files["func_odbc.conf"]
        self._twice("func_odbc.conf", table.function, "Asterisk reads the first")
        if not conf.named(table.function):
            text = f"[{table.function}]\ndsn=redirectd\nreadsql={table.statement}"
            self.at_end("func_odbc.conf", text, f"What target {name} is asked by.")
            return "redirectd"
        prefix, sent = conf.get(table.function, "prefix"), conf.get(table.function, "readsql")
        if prefix is not None and prefix.value != "ODBC":
            self.fit.change(prefix.place, "prefix=ODBC", f"the lookup asks ODBC_{table.function}")
        if sent is None:
            self._into("func_odbc.conf", table.function, f"readsql={table.statement}")
        elif sent.value != table.statement:
            self.fit.change(sent.place, f"readsql={table.statement}", "the function does not read the target's table")
        place = conf.get(table.function, "readhandle") or conf.get(table.function, "dsn")
        return "redirectd" if place is None else place.value.partition(",")[0].strip()

    def _database(self, section: str, table: OdbcTable) -> None:
        conf, ini = self.files["res_odbc.conf"], self.files[ODBC_INI]
        enabled, place = conf.get(section, "enabled"), conf.get(section, "dsn")
        if not conf.named(section):
            text = (
                f"[{section}]\nenabled => yes\ndsn => {section}\nusername => asterisk\npassword => PASSWORD\n"
                "pre-connect => yes\nmax_connections => 5"
            )
            self.at_end("res_odbc.conf", text, "Asterisk's own user of the database, which only reads. Not 0644.")
        elif enabled is not None and enabled.is_off:
            self.fit.change(enabled.place, "enabled => yes", f"the database {section} is not used")
        name = section if place is None else place.value
        if not ini.named(name):
            why = "Debian's drivers are the packages odbc-mariadb and odbc-postgresql."
            text = f"[{name}]\n{table.place}"
            self.fit.parts.append(Part(table.ini, "end", "at the end of the file", text, why=why))

    def _odbc_modules(self) -> None:
        conf = self.files["modules.conf"]
        given = conf.settings("modules")
        for one in given:
            if one.name == "noload" and one.value in _ODBC_MODULES:
                self.fit.change(one.place, f"load => {one.value}", "func_odbc does not work without it")
        autoload = next((one for one in reversed(given) if one.name == "autoload"), None)
        if autoload is None or not autoload.is_off:
            return
        loaded = {one.value for one in given if one.name in {"load", "preload", "require", "noload"}}
        missing = [name for name in _ODBC_MODULES if name not in loaded]
        if missing:
            lines = [f"{'load' if name == 'func_odbc.so' else 'preload'} => {name}" for name in missing]
            self._into("modules.conf", "modules", "\n".join(lines), "With autoload=no each is named.")

    def calls(self) -> None:
        """Say where the operator dials, and what goes before it."""
        conf = self.files["extensions.conf"]
        lookups = self._lookups()
        for lines, names in lookups.items():
            context = context_of(lines.beside)
            if any(f"Gosub({context}," in one.value for section in conf.sections for one in section.settings):
                continue
            found = list(_dials(conf))[:_MOST_DIALS] if len(lookups) == 1 else []
            for section, first, dial in found:
                self._dial(section, first, dial, lines)
            if not found:
                self._by_hand(lines, names)

    def _lookups(self) -> Mapping[Lines, str]:
        found: dict[str, tuple[Lines, str]] = {}
        for target in self.targets:
            if target.lines is not None:
                lines, names = found.get(target.lines.call, (target.lines, ""))
                found[target.lines.call] = lines, f"{names}, {target.name}".lstrip(", ")
        return dict(found.values())

    def _by_hand(self, lines: Lines, names: str) -> None:
        text = lines.call + (
            " same => n,Dial(PJSIP/${EXTEN}@trunk)\n same => n,Hangup()\n"
            " same => n(moved),Dial(PJSIP/trunk/${GOSUB_RETVAL})\n same => n,Hangup()\n"
        )
        why = (
            f"Target {names}: where you dial its trunk, ask first. The variable's name is fixed, and holds the number\n"
            "as it is sent, such as ${EXTEN:1}; the answer is a SIP URI or empty."
        )
        self.fit.add(None, "by-hand", "extensions.conf, in each extension that dials the trunk", text, why)

    def _dial(self, section: ConfSection, first: str, dial: Setting, lines: Lines) -> None:
        found = _DIAL.search(dial.value)
        if found is None:
            return
        call = lines.call.replace("${EXTEN}", found["user"])
        priority, rest = found["priority"] or "", dial.value[found.start("dialled") - len("Dial(") :]
        label = f"moved{dial.place.line}"
        call = call.replace("?moved", f"?{label}")
        why = f"{section.name}, {first}: ask first, and dial the answer over the same trunk."
        numbered = _is_numbered(section, dial)
        if priority == "n":
            self.fit.add(dial.place, "before", f"before {found['dialled']}", call, why)
        elif numbered or not priority.isdigit():
            self.fit.add(dial.place, "by-hand", "before this Dial, where priorities have numbers", call, why)
            return
        else:
            lead = call.lstrip().removeprefix("same => n,").partition("\n")
            text = f"exten => {first},{priority},{lead[0]}\n{lead[2]} same => n,{rest}"
            place = dial.place
            self.fit.parts.append(
                Part(place.file, "replace", "in place of that line", text, place.line, place.line, why)
            )
        last = _last_of(section, dial)
        moved = rest.replace(found["dialled"], f"PJSIP/{found['trunk']}/${{GOSUB_RETVAL}}", 1)
        text = f" same => n,Hangup()\n same => n({label}),{moved}\n same => n,Hangup()\n"
        self.fit.add(
            last.place,
            "after",
            f"the end of the extension {first}",
            text,
            f"Where the Gosub of line {dial.place.line} leads.",
        )

    def control(self) -> None:
        """See that redirectd may ask."""
        for control in dict.fromkeys(target.reload for target in self.targets):
            if control.startswith("ami"):
                self._ami(control)
            elif control.startswith("asterisk"):
                self._socket()

    def _ami(self, control: str) -> None:
        conf = self.files["manager.conf"]
        enabled = conf.get("general", "enabled")
        if enabled is None:
            self._into("manager.conf", "general", "enabled=yes", "The manager interface.")
        elif not enabled.is_on:
            self.fit.change(enabled.place, "enabled=yes", "the manager interface is off, and redirectd asks there")
        user, text = account_of(control)
        section = next(iter(conf.named(user)), None)
        if section is None:
            self.at_end("manager.conf", text, "redirectd's account.")
            return
        given = section.get("write")
        missing = set(_PERMISSIONS.split(",")) - set(re.split(r"\s*,\s*", given.value if given else ""))
        if missing and not (given and given.value == "all"):
            line = f"write={_PERMISSIONS}"
            why = f"the account {user} may not do {', '.join(sorted(missing))}"
            if given is None:
                self._into("manager.conf", user, line, why)
            else:
                self.fit.change(given.place, line, why)

    def _socket(self) -> None:
        conf = self.files["asterisk.conf"]
        mode = conf.get("files", "astctlpermissions")
        if mode is None:
            why = "redirectd, in the group asterisk, asks at this socket. Asterisk takes it over at its next start."
            text = "astctlpermissions = 0660\nastctlgroup = asterisk"
            self._into("asterisk.conf", "files", text, why)
        elif _OCTAL.fullmatch(mode.value) and int(mode.value, 8) & 0o060 != 0o060:
            self.fit.change(mode.place, "astctlpermissions = 0660", f"the control socket has mode {mode.value}")


def context_of(text: str) -> str:
    """Give the name of a text's first context; comments may come before it."""
    return f"\n{text}".partition("\n[")[2].partition("]")[0]


def account_of(control: str) -> tuple[str, str]:
    """Give the name of the manager account that a ``reload`` names, and the section that makes it."""
    found = _AMI_USER.match(control)
    user = found[1] if found else "redirectd"
    text = (
        f"[{user}]\nsecret=(what is in the target's password_file)\ndeny=0.0.0.0/0.0.0.0\n"
        f"permit=127.0.0.1/255.255.255.255\nread={_PERMISSIONS}\nwrite={_PERMISSIONS}\n"
    )
    return user, text


def verbose_logs(conf: AsteriskConf) -> list[str]:
    """Give the files of logger.conf that get what the pjsip logger writes."""
    return [one.name for one in conf.settings("logfiles") if one.name != "console" and _verbose(one)]


def _verbose(entry: Setting) -> bool:
    levels = re.sub(r"^\[[^\]]*\]", "", entry.value).split(",")
    return any(level.strip().partition("(")[0] in {"verbose", "*"} for level in levels)


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _steps(text: str) -> list[str]:
    return [_plain(line) for line in text.split("\n")[1:] if line.strip()]


def _extensions(section: ConfSection) -> Iterator[tuple[str, Setting]]:
    """Give each line with the pattern of its extension."""
    pattern = ""
    for one in section.settings:
        if one.name == "exten" and (found := _EXTEN.match(one.value)):
            pattern = found["pattern"].strip()
            yield pattern, Setting(one.name, found["rest"].strip(), one.place)
        elif one.name == "same":
            yield pattern, one


def _dials(conf: AsteriskConf) -> Iterator[tuple[ConfSection, str, Setting]]:
    for section in conf.sections:
        for pattern, line in _extensions(section):
            if _DIAL.search(line.value):
                yield section, pattern, line


def _of_extension(section: ConfSection, dial: Setting, good: Callable[[Setting], bool]) -> list[Setting]:
    lines = list(_extensions(section))
    pattern = next(pattern for pattern, line in lines if line.place == dial.place)
    return [line for found, line in lines if found == pattern and good(line)]


def _last_of(section: ConfSection, dial: Setting) -> Setting:
    return max(
        _of_extension(section, dial, lambda line: line.place.file == dial.place.file), key=lambda one: one.place.line
    )


def _is_numbered(section: ConfSection, dial: Setting) -> bool:
    """Whether lines behind a Dial name their priority by number, which would have to be counted on."""
    after = _of_extension(section, dial, lambda line: line.place.line > dial.place.line)
    return any(line.value.partition(",")[0].strip().isdigit() for line in after)
