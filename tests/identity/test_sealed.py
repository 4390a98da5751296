"""Sealed credentials: only what this ring sealed opens, and only as the pair that it belongs to."""

import base64
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addons.identity.refusal import Refused
from addons.identity.sealed import KEEP, KeyRing
from addons.identity.session import Session

NOW = 1_800_000_000
SESSION = Session(
    id="5202975792127c77",
    issuer="https://idp.example.com",
    subject="agent/ada",
    groups=("developers", "sre"),
    role="arn:aws:iam::111122223333:role/agents",
    label="laptop",
    token_id="t1",
    issued=NOW,
    expires=NOW + 3600,
)
TEXT = st.text(max_size=40)
SESSIONS = st.builds(
    Session,
    TEXT,
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=5).map(tuple),
    TEXT,
    TEXT,
    TEXT,
    st.integers(),
    st.integers(NOW + 1),
)
FIXTURE = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused(ring: KeyRing, access_key: str, token: str) -> None:
    with pytest.raises(Refused) as caught:
        ring.unseal(access_key, token, now=NOW)
    assert (caught.value.code, caught.value.status) == ("InvalidClientTokenId", 403)
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in caught.value.message
    assert caught.value.__cause__ is None


@FIXTURE
@given(session=SESSIONS)
def test_what_was_sealed_is_what_opens(ring: KeyRing, session: Session) -> None:
    access_key, secret, token = ring.seal(session)
    assert ring.unseal(access_key, token, now=NOW) == (session, secret)


def test_the_credentials_look_like_temporary_ones_of_aws(ring: KeyRing) -> None:
    access_key, secret, token = ring.seal(SESSION)
    assert len(access_key) == 20
    assert access_key.startswith("ASIA")
    assert access_key.isalnum()
    assert len(base64.b64decode(secret)) == 30
    assert len(secret) == 40
    assert len(token) < 500
    assert token.isascii()


def test_the_token_shows_nothing_and_never_repeats(ring: KeyRing) -> None:
    tokens = {ring.seal(SESSION)[2] for _ in range(100)}
    assert len(tokens) == 100
    assert len({ring.seal(SESSION)[0] for _ in range(100)}) == 100
    body = tokens.pop().split(".")[2]
    assert b"ada" not in base64.urlsafe_b64decode(body + "==")


@FIXTURE
@given(place=st.integers(min_value=0), bit=st.integers(0, 6))
def test_a_flipped_bit_anywhere_is_refused(ring: KeyRing, place: int, bit: int) -> None:
    access_key, secret, token = ring.seal(SESSION)
    assert ring.unseal(access_key, token, now=NOW) == (SESSION, secret)
    both = bytearray((access_key + token).encode())
    both[place % len(both)] ^= 1 << bit
    changed = both.decode()
    refused(ring, changed[:20], changed[20:])


def test_halves_of_two_sets_do_not_mix(ring: KeyRing) -> None:
    mine, other = ring.seal(SESSION), ring.seal(replace(SESSION, subject="agent/eve"))
    assert ring.unseal(mine[0], mine[2], now=NOW)[0].subject == "agent/ada"
    refused(ring, mine[0], other[2])
    refused(ring, other[0], mine[2])


@pytest.mark.parametrize(
    "change",
    [
        lambda t: "",
        lambda t: t[:-1],
        lambda t: t + "A",
        lambda t: t + "=",
        lambda t: t + "\n",
        lambda t: " " + t,
        lambda t: t.replace("SLG1", "SLG2"),
        lambda t: t.rsplit(".", 1)[0],
        lambda t: t + ".x",
        lambda t: t.replace(t.split(".")[1], "00000000"),
        lambda t: t.replace(t.split(".")[1], ""),
        lambda t: t.replace(t.split(".")[1], "../../x"),
        lambda t: f"{t.rsplit('.', 1)[0]}.",
        lambda t: f"{t.rsplit('.', 1)[0]}.AAAA",
        lambda t: t + "é",
        lambda t: "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJH",
        lambda t: t * 500,
    ],
)
def test_what_this_ring_did_not_seal_is_refused(ring: KeyRing, change: object) -> None:
    access_key, _, token = ring.seal(SESSION)
    changed = change(token)  # type: ignore[operator]
    refused(ring, access_key, changed)
    # Nor with the access key that such a token would have, which needs the ring: the box holds by itself.
    kid = token.split(".")[1]
    refused(ring, ring._keys[kid].access_key(changed.encode()), changed)


@pytest.mark.parametrize("access_key", ["", "AKIAIOSFODNN7EXAMPLE", "ASIA" + "A" * 16, "é" * 20])
def test_a_foreign_access_key_is_refused(ring: KeyRing, access_key: str) -> None:
    own, _, token = ring.seal(SESSION)
    assert ring.unseal(own, token, now=NOW)
    refused(ring, access_key, token)
    refused(ring, own.lower(), token)


def test_another_ring_does_not_open_it(ring: KeyRing, tmp_path: Path) -> None:
    access_key, _, token = ring.seal(SESSION)
    other = KeyRing.open(tmp_path / "other.json")
    refused(other, access_key, token)


def test_credentials_end_with_their_session(ring: KeyRing) -> None:
    access_key, _, token = ring.seal(SESSION)
    assert ring.unseal(access_key, token, now=SESSION.expires - 0.001)
    with pytest.raises(Refused) as caught:
        ring.unseal(access_key, token, now=SESSION.expires)
    assert (caught.value.code, caught.value.status) == ("ExpiredToken", 403)


def test_every_gateway_with_the_same_file_opens_it(ring: KeyRing, tmp_path: Path) -> None:
    access_key, secret, token = ring.seal(SESSION)
    assert KeyRing.open(tmp_path / "keyring.json").unseal(access_key, token, now=NOW) == (SESSION, secret)


def test_a_rotated_key_still_opens_for_a_day(ring: KeyRing, tmp_path: Path) -> None:
    access_key, secret, token = ring.seal(SESSION)
    ring.rotate(now=NOW)
    fresh = ring.seal(SESSION)
    assert fresh[2].split(".")[1] != token.split(".")[1]
    again = KeyRing.open(tmp_path / "keyring.json")
    for one in (ring, again):
        assert one.unseal(access_key, token, now=NOW) == (SESSION, secret)
        assert one.unseal(fresh[0], fresh[2], now=NOW)[0] == SESSION
    ring.rotate(now=NOW + KEEP - 1)
    assert ring.unseal(access_key, token, now=NOW)
    ring.rotate(now=NOW + KEEP)
    refused(ring, access_key, token)
    assert ring.unseal(fresh[0], fresh[2], now=NOW)


def test_what_was_opened_before_ends_with_its_key_all_the_same(ring: KeyRing) -> None:
    """STS gives sets of up to 36 hours; an agent that goes on calling must not outlive the key's day."""
    access_key, _, token = ring.seal(replace(SESSION, expires=NOW + 36 * 3600))
    ring.rotate(now=NOW)
    ring.unseal(access_key, token, now=NOW + KEEP - 1)
    with pytest.raises(Refused, match="InvalidClientTokenId"):
        ring.unseal(access_key, token, now=NOW + KEEP)


def test_a_key_that_is_forgotten_while_a_token_is_opened_is_forgotten(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read again in another thread."""
    access_key, _, token = ring.seal(SESSION)
    opened = ring._opened

    def meanwhile(*args: object) -> object:
        found = opened(*args)  # type: ignore[arg-type]
        ring.rotate(keep_old=False)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ring, "_opened", meanwhile)
        ring.unseal(access_key, token, now=NOW)
    refused(ring, access_key, token)


def test_the_file_is_private_and_one_of_many_starters_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keyring.json"
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: KeyRing.open(path), range(16)))
    access_key, _, token = rings[0].seal(SESSION)
    assert all(ring.unseal(access_key, token, now=NOW) for ring in rings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["keyring.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o777])
def test_a_file_that_others_can_use_is_refused(ring: KeyRing, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keyring.json"
    path.chmod(mode)
    with pytest.raises(ValueError, match="chmod 600"):
        KeyRing.open(path)
    path.chmod(0o600)
    assert KeyRing.open(path)


def test_a_link_or_a_directory_is_refused(ring: KeyRing, tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "keyring.json")
    with pytest.raises(ValueError, match="can't be read"):
        KeyRing.open(tmp_path / "link.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ValueError, match="no regular file"):
        KeyRing.open(tmp_path / "folder.json")
    os.mkfifo(tmp_path / "pipe.json", 0o600)
    with pytest.raises(ValueError, match="no regular file"):
        KeyRing.open(tmp_path / "pipe.json")


KEY = base64.b64encode(b"k" * 32).decode()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": 1, "keys": []}',
        json.dumps({"version": 2, "keys": [{"kid": "00000000", "key": KEY, "replaced": None}]}),
        json.dumps({"version": 1, "keys": [{"kid": "0.000000", "key": KEY, "replaced": None}]}),
        json.dumps({"version": 1, "keys": [{"kid": "00000000", "key": KEY[4:], "replaced": None}]}),
        json.dumps({"version": 1, "keys": [{"kid": "00000000", "key": KEY, "replaced": 1}]}),
        json.dumps({"version": 1, "keys": [{"kid": "00000000", "key": KEY, "replaced": None}] * 2}),
    ],
)
def test_a_broken_file_is_refused_and_not_quoted(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keyring.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ValueError, match="no key ring") as caught:
        KeyRing.open(path)
    assert KEY[:8] not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert path.read_text() == content


def test_nothing_secret_is_shown(ring: KeyRing, tmp_path: Path) -> None:
    secrets = [entry["key"] for entry in json.loads((tmp_path / "keyring.json").read_text())["keys"]]
    shown = f"{ring!r} {ring} {list(ring._keys.values())!r}"
    for secret in secrets:
        assert secret not in shown
        assert repr(base64.b64decode(secret)) not in shown
