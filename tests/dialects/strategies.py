"""Hypothesis strategies: valid SIP messages whose text every log can carry."""

from __future__ import annotations

from hypothesis import strategies as st

token = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._", min_size=1, max_size=16)
display = st.text("abcXYZ 012,;<>@()=+*!?'/\\\"[]{}|éß日本", max_size=20)
body_line = st.text('abcdefghijklmnopqrstuvwxyz=:/ 0123456789<>[](){}"\\', max_size=30).map(lambda line: line + "x")


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A request or response with CR LF line ends, a true Content-Length and a body of lines or none."""
    branch, call_id, user = draw(token), draw(token), draw(token)
    if draw(st.booleans()):
        first = f"SIP/2.0 {draw(st.sampled_from(['301 Moved Permanently', '183 Session Progress', '301 x']))}"
    else:
        first = f"INVITE sip:{user}@192.0.2.1:5060;user=phone SIP/2.0"
    lines = draw(st.lists(body_line, max_size=8))
    body = "".join(f"{line}\r\n" for line in lines).encode()
    length = draw(st.sampled_from(["Content-Length: ", "l:", "content-length:   "]))
    head = [
        first,
        f"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{branch}",
        f'From: "{draw(display)}" <sip:a@b.test>;tag={draw(token)}',
        f"To: <sip:{user}@b.test>",
        f"Call-ID: {call_id}@h",
        "CSeq: 1 INVITE",
        f"Contact: <sip:{draw(token)}@192.0.2.2>",
        f"{length}{len(body)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
