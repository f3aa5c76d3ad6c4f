"""A provider of OpenID Connect on this host, over real HTTP, that answers as it is set up."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jws
from joserfc.jwk import RSAKey

from redirectd.console.oidc import ALGORITHMS

KEY, OTHER_KEY = (RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}) for kid in ("one", "two"))


@dataclass
class Provider:
    """What it publishes, and what its ID tokens claim beside what a right one does; None leaves a claim out."""

    now: float
    claims: dict[str, Any] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: KEY)
    published: list[RSAKey] = field(default_factory=lambda: [KEY])
    more_keys: list[dict[str, str]] = field(default_factory=list)
    header: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    status: int = 200
    secret: str = "client secret"
    asked: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def start(self) -> ThreadingHTTPServer:
        """Listens on a free port."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            """Answers one request."""

            def do_GET(self) -> None:
                """Gives the documents."""
                provider.paths.append(self.path)
                self._send(provider.published_at(self.path))

            def do_POST(self) -> None:
                """Gives a token for a code, where the request is right."""
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                given = {name: values[0] for name, values in parse_qs(body).items()}
                self._send(provider.redeemed(given, self.headers.get("Authorization", "")))

            def log_message(self, *_: object) -> None:
                """Says nothing."""

            def _send(self, document: object) -> None:
                text = json.dumps(document).encode() if not isinstance(document, bytes) else document
                self.send_response(provider.status)
                self.send_header("Content-Length", str(len(text)))
                self.send_header("Location", "https://elsewhere.example/")
                self.end_headers()
                self.wfile.write(text)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self.server

    @property
    def issuer(self) -> str:
        """Its name."""
        return f"http://127.0.0.1:{self.server.server_port}/realm"

    def published_at(self, path: str) -> object:
        """Its documents and keys."""
        if path.endswith("/jwks"):
            return {"keys": self.more_keys + [one.as_dict(private=False) for one in self.published]}
        endpoints = {name: f"{self.issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
        return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks", **endpoints, **self.documents}

    def sign_in(self, location: str) -> dict[str, str]:
        """What a browser brings back from it: the query of the callback."""
        assert location.startswith(f"{self.issuer}/authorization_endpoint?")
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        self.asked.append(asked)
        return {"code": f"code{len(self.asked) - 1}", "state": asked["state"]}

    def redeemed(self, given: dict[str, str], authorization: str) -> object:
        """The answer to a code, as RFC 6749 and RFC 7636 have it."""
        asked = self.asked[int(given["code"].removeprefix("code"))]
        challenge = base64.urlsafe_b64encode(hashlib.sha256(given["code_verifier"].encode()).digest())
        pair = base64.b64encode(f"redirectd:{self.secret.replace(' ', '+')}".encode()).decode()
        if (
            challenge.rstrip(b"=").decode() != asked["code_challenge"]
            or asked["code_challenge_method"] != "S256"
            or given["redirect_uri"] != asked["redirect_uri"]
            or authorization != f"Basic {pair}"
        ):
            return {"error": "invalid_grant"}
        return {"id_token": self.token or self.signed(asked["nonce"]), "access_token": "x", "token_type": "Bearer"}

    def signed(self, nonce: str) -> str:
        """An ID token."""
        claims = {
            "iss": self.issuer,
            "aud": "redirectd",
            "sub": "ada",
            "nonce": nonce,
            "iat": int(self.now),
            "exp": int(self.now) + 300,
            "groups": ["voice"],
            **self.claims,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": self.key.kid, **self.header}
        return jws.serialize_compact(header, json.dumps(kept), self.key, algorithms=ALGORITHMS)
