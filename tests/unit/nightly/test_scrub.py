"""Secrets in texts that others will read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.values.scrub import scrubbed

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("password=hunter2 user=me", "password=[removed] user=me"),
        ('db_passwd: "hunter2", host: x', 'db_passwd: "[removed]", host: x'),
        ("<graphics type='vnc' passwd='hunter2'/>", "<graphics type='vnc' passwd='[removed]'/>"),
        ('{"access_token": "abc", "n": 1}', '{"access_token": "[removed]", "n": 1}'),
        ("API_KEY=abc", "API_KEY=[removed]"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [removed]"),
        ("mount //me:hunter2@host/share", "mount //me:hunter2@host/share"),  # no URL: nobody knows what it is
        ("from https://me:hunter2@host/x", "from https://me:[removed]@host/x"),
        (f"a\n{KEY}\nb", "a\n-----BEGIN OPENSSH PRIVATE KEY----- [removed]\nb"),
        (f"cut\n{KEY[:60]}", "cut\n-----BEGIN OPENSSH PRIVATE KEY----- [removed]"),
    ],
)
def test_secrets_go(text: str, clean: str) -> None:
    assert scrubbed(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "sshd[12]: Accepted publickey for root from 10.0.0.1 port 22",
        "Lustre: lustre-OST0000: Client abc (at 10.77.0.11@tcp) reconnecting",
        "systemd-ask-password-wall.path: Forward Password Requests to Wall",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI root@fta1",
        "the password: ",
    ],
)
def test_all_else_stays(text: str) -> None:
    assert scrubbed(text) == text


@given(st.text())
def test_it_is_done_once(text: str) -> None:
    assert scrubbed(scrubbed(text)) == scrubbed(text)
