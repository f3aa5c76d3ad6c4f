"""Texts for property tests: URIs within the grammar, and text that is made to break parsers."""

from hypothesis import strategies as st

UNRESERVED = "abcXYZ019-_.!~*'()"

hostile_text = st.text(
    st.one_of(
        st.sampled_from('<>"\\;,:@?&=%[]*# \t\r\n\x00\x1b|sip0/'),
        st.characters(),
        st.sampled_from("\ud800\udc80\udcff\u202e\u0085"),
    ),
    max_size=80,
)


def _texts(chars: str, *, min_size: int = 1) -> st.SearchStrategy[str]:
    pieces = st.one_of(st.sampled_from(chars), st.sampled_from(["%41", "%2b", "%2B", "%20", "%C3%A9", "%0d", "%7e"]))
    return st.lists(pieces, min_size=min_size, max_size=8).map("".join)


_labels = st.from_regex(r"\A[a-zA-Z]([a-zA-Z0-9\-]{0,5}[a-zA-Z0-9])?\Z")
_names = st.lists(_labels, min_size=1, max_size=3).map(".".join)
hosts = st.one_of(
    _names,
    _names.map(lambda name: name + "."),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.ip_addresses(v=6).map(lambda address: f"[{address.exploded.upper()}]"),
    st.ip_addresses(v=4).map(lambda address: f"[::ffff:{address}]"),
)
users = _texts(UNRESERVED + "&=+$,;?/")
passwords = _texts(UNRESERVED + "&=+$,", min_size=0)
_transports = st.sampled_from(["udp", "UDP", "tcp", "TLS", "%74cp", "x-odd"]).map(lambda name: f";transport={name}")
_others = st.dictionaries(
    st.sampled_from(["user", "lr", "maddr", "x-a", "x-b"]), st.none() | _texts(UNRESERVED + "[]/:&+$"), max_size=3
).map(lambda items: "".join(f";{name}" if value is None else f";{name}={value}" for name, value in items.items()))
_header_lists = st.lists(
    st.tuples(_texts(UNRESERVED), _texts(UNRESERVED + "[]/?:+$", min_size=0)), min_size=1, max_size=3
)
_headers = _header_lists.map(lambda pairs: "?" + "&".join(f"{name}={value}" for name, value in pairs))


@st.composite
def plain_sip_uris(draw: st.DrawFn) -> str:
    """A sip or sips URI with nothing in it but what a route key has."""
    scheme = draw(st.sampled_from(["sip", "sips", "SIP"]))
    user = draw(st.none() | users)
    port = draw(st.none() | st.integers(1, 65535))
    text: str = f"{scheme}:" + ("" if user is None else f"{user}@") + draw(hosts)
    return text + ("" if port is None else f":{port}") + draw(st.just("") | _transports)


@st.composite
def sip_uris(draw: st.DrawFn) -> str:
    """Any sip or sips URI within the grammar."""
    userinfo = draw(st.just("") | users.map(lambda user: f"{user}@"))
    if userinfo:
        userinfo = userinfo[:-1] + draw(st.just("") | passwords.map(lambda word: f":{word}")) + "@"
    port = draw(st.just("") | st.integers(1, 65535).map(lambda number: f":{number}"))
    params = draw(st.just("") | _transports) + draw(_others)
    return f"sip:{userinfo}{draw(hosts)}{port}{params}{draw(st.just('') | _headers)}"
