"""Permissions of tenants' users, and their passwords."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memq_schemas import Names
from memq_schemas.tenants import TenantNames, tenant_topology
from memq_schemas.topology import topology
from memq_worker.errors import ConfigurationError
from memq_worker.tenants.file import User
from memq_worker.tenants.users import check_ordinary, has_password, password, permissions

TENANTS = st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True)
PREFIXES = st.sampled_from(["memq", "a.b", "m-q_1"])


def test_the_permissions_are_those_of_the_contract() -> None:
    assert permissions(TenantNames("memq", "acme"), "write") == {
        "configure": r"^memq\.reply\.acme\.",
        "write": r"^(memq\.t\.acme(\.bulk)?|memq\.reply\.acme\..*)$",
        "read": r"^(memq\.r\.acme|memq\.reply\.acme\..*)$",
    }
    assert permissions(TenantNames("memq", "acme"), "read")["write"] == (
        r"^(memq\.t\.acme\.read|memq\.reply\.acme\..*)$"
    )


@given(PREFIXES, TENANTS, TENANTS)
def test_no_permission_reaches_another_tenant_or_the_operator(prefix: str, tenant: str, other: str) -> None:
    if tenant == other:
        return
    foreign = TenantNames(prefix, other)
    layout = tenant_topology(prefix, other, own_lane=True)
    names = {
        *foreign.exchanges,
        *(queue.name for queue in layout.queues),
        foreign.reply("x"),
        Names(prefix).reply("x"),
        *(each.name for each in (*topology(prefix).exchanges, *topology(prefix).queues)),
        "amq.default",
        "",
        "amq.gen-x",
    }
    for access in ("write", "read"):
        for kind, regex in permissions(TenantNames(prefix, tenant), access).items():
            assert [name for name in names if re.search(regex, name)] == [], (kind, regex)


@given(PREFIXES, TENANTS)
def test_a_user_may_do_what_a_client_does(prefix: str, tenant: str) -> None:
    own = TenantNames(prefix, tenant)
    granted = permissions(own, "write")
    assert all(re.search(granted["write"], name) for name in (own.commands, own.bulk, own.reply("x")))
    assert all(re.search(granted["read"], name) for name in (own.replies, own.reply("x")))
    assert re.search(granted["configure"], own.reply("x"))
    assert not re.search(granted["write"], own.replies)
    assert not any(re.search(granted["read"], name) for name in (own.commands, own.bulk, own.read))
    reading = permissions(own, "read")
    assert re.search(reading["write"], own.read)
    assert not any(re.search(reading["write"], name) for name in (own.commands, own.bulk))


def hashed(algorithm: str, text: str) -> dict[str, str]:
    salt = b"salt"
    digest = hashlib.new(algorithm, salt + text.encode()).digest()
    return {
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": f"rabbit_password_hashing_{algorithm}",
    }


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_password_is_compared_by_its_hash(algorithm: str) -> None:
    known = hashed(algorithm, "right")
    assert has_password(known, "right") is True
    assert has_password(known, "wrong") is False


def test_a_hash_that_says_nothing_is_neither_right_nor_wrong() -> None:
    assert has_password({"password_hash": "x", "hashing_algorithm": "rabbit_password_hashing_md5"}, "x") is None


@pytest.mark.parametrize("tags", [["administrator"], "policymaker", "monitoring,administrator"])
def test_a_user_whom_no_permission_limits_is_no_tenant_s(tags: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^\[tenants\.a\.users\.u\]: "):
        check_ordinary({"tags": tags}, "[tenants.a.users.u]")


def test_a_password_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    place = "[tenants.a.users.u]"
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "good").write_text("secret\n")
    assert password(User(password_file="good"), place, tmp_path) == "secret"
    assert password(User(), place, tmp_path) is None
    for name in ("empty", "absent"):
        with pytest.raises(ConfigurationError, match=rf"^\[tenants\.a\.users\.u\] password_file: '{name}'"):
            password(User(password_file=name), place, tmp_path)
