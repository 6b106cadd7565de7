"""The keys of a suite on this machine: who signs what, and what the services check it with."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

from brikk_cli.failures import CommandError
from brikk_cli.home import write_json, write_private
from brikk_shared.crypto import KeyRing, SealingError
from brikk_shared.signing import TokenSigner, create_signing_key

USERS = "https://users.local.brikk.dev"
SERVICES = "https://services.local.brikk.dev"
CALLS = "https://calls.local.brikk.dev"

AUDIENCE = "brikk"
LOCAL_ORGANIZATION = "local"
USER_SCOPES = (
    "workflow.read",
    "workflow.write",
    "agent",
    "agent.read",
    "agent.report",
    "agent.admin",
    "webhook.read",
    "webhook.write",
    "metrics.read",
    "alert.read",
    "alert.write",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """Files with the keys of one suite; the public half of `x.json` is in `x.jwks.json`."""

    folder: Path

    @property
    def user(self) -> Path:
        """Signs the tokens of people and agents."""
        return self.folder / "user.json"

    @property
    def internal(self) -> Path:
        """Signs the tokens with which the services call one another."""
        return self.folder / "internal.json"

    @property
    def call(self) -> Path:
        """Signs the tokens with which the workflow service calls agents."""
        return self.folder / "call.json"

    @property
    def webhooks_ring(self) -> Path:
        """Seals webhook secrets."""
        return self.folder / "webhooks-ring.json"

    @property
    def valkey(self) -> Path:
        """Valkey's configuration file: its password."""
        return self.folder / "valkey.conf"

    @staticmethod
    def jwks(signing_key: Path) -> Path:
        """The public half of a signing key."""
        return signing_key.with_suffix(".jwks.json")

    def issuers(self) -> str:
        """The setting by which a service knows whose tokens to accept."""
        return json.dumps(
            [
                {"issuer": USERS, "jwks": str(self.jwks(self.user)), "organizations": ["*"]},
                {"issuer": SERVICES, "jwks": str(self.jwks(self.internal)), "internal": True},
            ]
        )

    def valkey_password(self) -> str:
        """What Valkey asks its clients for."""
        return self.valkey.read_text().split()[1]


def make_keys(folder: Path) -> Keys:
    """Makes the keys that are missing; the others stay, and so does what they signed or sealed.

    Raises CommandError when one of them cannot be used.
    """
    keys = Keys(folder=folder)
    for path, issuer in ((keys.user, USERS), (keys.internal, SERVICES), (keys.call, CALLS)):
        try:
            signer = (
                TokenSigner.from_file(path) if path.exists() else create_signing_key(path, issuer)
            )
        except (OSError, ValueError) as error:
            raise CommandError(f"cannot use the key {path}: {error}") from None
        write_json(keys.jwks(path), signer.jwks())
    if not keys.webhooks_ring.exists():
        first = KeyRing(primary="k1", keys={"k1": secrets.token_bytes(32)})
        _write_ring(keys.webhooks_ring, first)
    if not keys.valkey.exists():
        write_private(keys.valkey, f"requirepass {secrets.token_hex(24)}\n")
    return keys


def read_ring(path: Path) -> KeyRing:
    """Reads a key ring. Raises CommandError when it cannot be."""
    try:
        return KeyRing.parse(path.read_text())
    except (OSError, ValueError, SealingError) as error:
        raise CommandError(f"cannot use the key ring {path}: {error}") from None


def rotate_ring(path: Path) -> KeyRing:
    """Adds a new key to a key ring and makes it the one that seals; the others go on opening.

    Raises CommandError when the ring cannot be read or written.
    """
    before = read_ring(path)
    number = next(n for n in count(len(before.keys) + 1) if f"k{n}" not in before.keys)
    ring = KeyRing(
        primary=f"k{number}", keys={**before.keys, f"k{number}": secrets.token_bytes(32)}
    )
    try:
        _write_ring(path, ring)
    except OSError as error:
        raise CommandError(f"cannot write the key ring {path}: {error.strerror}") from None
    return ring


def _write_ring(path: Path, ring: KeyRing) -> None:
    keys = {name: base64.b64encode(key).decode() for name, key in ring.keys.items()}
    write_json(path, {"primary": ring.primary, "keys": keys})


def user_token(
    signing_key: Path,
    *,
    organization: str = LOCAL_ORGANIZATION,
    scopes: tuple[str, ...] = USER_SCOPES,
    subject: str = "users/local",
    lifetime: timedelta = timedelta(days=30),
) -> str:
    """A token for people, agents and programs of one organisation."""
    return TokenSigner.from_file(signing_key).mint(
        subject=subject,
        scopes=scopes,
        audience=AUDIENCE,
        lifetime=lifetime,
        organization=organization,
    )
