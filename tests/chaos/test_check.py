"""The judge must refuse bad histories: each test spoils one good piece of evidence in one way."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import time
import unittest
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from check import GRACE_SECONDS, Judge
from evidence import Evidence
from leaks import TABLE

KEY = Ed25519PrivateKey.generate()
X = base64.urlsafe_b64encode(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode().rstrip("=")
NOW = int(time.time())
END = NOW + 30 * 86_400
ADA = "cust_0000000000000000000000000000000a"


def token(trial: bool, exp: int, customer: str = ADA, key: Any = KEY, **more: str) -> str:
    claims = {"sub": customer, "customer_id": customer, "trial": trial, "exp": exp, **more}
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"typ": "license+jwt", "kid": "k1"})


def row(version: int, signed: str, digest: str) -> dict[str, Any]:
    return {"license_id": f"lic_{version}", "customer_id": ADA, "version": version, "token": signed, "facts_digest": digest}


def line(op: str, answer: Any, **args: Any) -> dict[str, Any]:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return {"op": op, "args": {"customer_id": ADA, **args}, "outcome": "ok", "status": 200, "answer": text}


def good() -> Evidence:
    account = {"customer": {"customer_id": ADA}, "token": "ses_canary", "license": {"license_id": "lic_1"}}
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW))
    licenses = [row(1, token(True, NOW + 14 * 86_400), "a"), row(2, token(False, END + GRACE_SECONDS), "b")]
    return Evidence(
        history=[
            line("sign_up", account, email="ada@example.com", password="CanaryPass-1"),
            line("checkout", {"checkout_url": "http://127.0.0.1:1/c/pay/cs_test_aaaaaaaaaaaa"}),
            line("pay", ""),
            line("cancel", {}),
            line("webhook", {"received": True}, event_id="evt_1"),
            line("refresh", {"license_id": "lic_2"}),
        ],
        mails=[{"message_id": f"<{one['version']}@x>", "text": f"Paste this:\n\n{one['token']}\n"} for one in licenses],
        logs={"server-1.log": '{"level":"INFO"}\n'},
        customers=[{"id": "cus_1", "metadata": {"customer_id": ADA, "instance": "i"}}],
        subscriptions=[{"customer": "cus_1", "status": "active", "cancel_at_period_end": True, "items": {"data": [{"current_period_end": END}]}}],
        tables={
            "customers": [{"customer_id": ADA, "email": "ada@example.com", "created_at": created}],
            "licenses": licenses,
            "sessions": [{"token_hash": hashlib.sha256(b"ses_canary").hexdigest()}],
            "checkout_attempts": [{"external_id": "cs_test_aaaaaaaaaaaa"}],
            "webhook_inbox": [{"event_id": "evt_1", "state": "processed"}],
            "outbox": [
                {"dedupe_key": f"license:{ADA}:{n}", "kind": "mail", "state": "sent", "message_id": f"<{n}@x>"} for n in (1, 2)
            ],
            "signing_keys": [{"key_id": "k1", "public_key": X}],
        },
    )


class TestJudge(unittest.TestCase):
    def setUp(self) -> None:
        self.e = copy.deepcopy(good())

    def refused(self, words: str) -> None:
        wrong = Judge(self.e).judge()
        self.assertTrue(any(words in one for one in wrong), wrong)

    def test_good_evidence_is_good(self) -> None:
        self.assertEqual(Judge(self.e).judge(), [])

    def test_nothing_was_tried(self) -> None:
        for one in self.e.history:
            one["outcome"] = "unknown"
        self.refused("nothing was acknowledged")
        self.e.history = []
        self.refused("nothing was acknowledged")

    def test_answered_500(self) -> None:
        self.e.history.append({**line("cancel", '{"code":"internal"}'), "outcome": "refused", "status": 500})
        self.refused('cancel was answered 500: {"code":"internal"}')

    def test_an_outage_is_answered_503(self) -> None:
        self.e.history.append({**line("cancel", '{"code":"database_unavailable"}'), "outcome": "refused", "status": 503})
        self.assertEqual(Judge(self.e).judge(), [])

    def test_panic_in_a_log(self) -> None:
        self.e.logs = {"server-1.log": "thread 'main' panicked at crates/server/src/main.rs:1:1:"}
        self.refused("server-1.log: thread 'main' panicked")

    def test_lost_webhook(self) -> None:
        self.e.tables["webhook_inbox"] = []
        self.refused("lost acknowledgement: webhook")

    def test_lost_account(self) -> None:
        self.e.tables["customers"][0]["email"] = "bob@example.com"
        self.refused("lost acknowledgement: sign_up")

    def test_lost_session(self) -> None:
        self.e.tables["sessions"] = []
        self.refused("lost acknowledgement: session")

    def test_lost_checkout(self) -> None:
        self.e.tables["checkout_attempts"] = []
        self.refused("lost acknowledgement: checkout")

    def test_lost_license(self) -> None:
        self.e.tables["licenses"].pop(0)
        self.refused("lost acknowledgement: license")

    def test_license_shown_and_lost(self) -> None:
        self.e.tables["licenses"].pop()
        self.refused("that was shown")

    def test_lost_cancelation(self) -> None:
        self.e.subscriptions[0]["cancel_at_period_end"] = False
        self.refused("lost acknowledgement: cancelation")

    def test_lost_payment(self) -> None:
        self.e.subscriptions = []
        self.refused("lost acknowledgement: payment")
        self.refused("without payment")

    def test_two_customers(self) -> None:
        self.e.customers.append({**self.e.customers[0], "id": "cus_2"})
        self.refused("2 Stripe customers")

    def test_two_live_subscriptions(self) -> None:
        self.e.subscriptions *= 2
        self.refused("more than one live subscription")

    def test_paid_without_license(self) -> None:
        self.e.tables["licenses"].pop()
        self.refused("paid without a license")

    def test_license_of_another_key(self) -> None:
        self.e.tables["licenses"][1]["token"] = token(False, END, key=Ed25519PrivateKey.generate())
        self.refused("does not verify")

    def test_license_of_another_customer(self) -> None:
        self.e.tables["licenses"][1]["token"] = token(False, END, customer="cust_b")
        self.refused("names somebody else")

    def test_license_too_long_and_too_short(self) -> None:
        self.e.tables["licenses"][1]["token"] = token(False, END + GRACE_SECONDS + 1)
        self.refused("outlives what was paid by 1 s")
        self.e.tables["licenses"][1]["token"] = token(False, END - 1)
        self.refused("ends before what was paid")

    def test_trial_too_long(self) -> None:
        self.e.tables["licenses"][0]["token"] = token(True, NOW + 15 * 86_400)
        self.refused("outlives")

    def test_waiting_rows(self) -> None:
        self.e.tables["webhook_inbox"].append({"event_id": "evt_2", "state": "pending"})
        self.e.tables["outbox"].append({"dedupe_key": "x", "kind": "mail", "state": "dead", "message_id": "<3@x>"})
        self.refused("1 rows of webhook_inbox are pending")
        self.refused("1 rows of outbox are dead")

    def test_two_versions_about_the_same(self) -> None:
        self.e.tables["licenses"][1]["facts_digest"] = "a"
        self.refused("same facts")

    def test_gap_in_versions(self) -> None:
        self.e.tables["licenses"][1]["version"] = 3
        self.refused("gaps")

    def test_mail_not_owed(self) -> None:
        self.e.tables["outbox"].pop()
        self.refused("no mail was owed")

    def test_mail_that_never_arrived(self) -> None:
        self.e.mails.pop()
        self.refused("never arrived")

    def test_mail_without_its_license(self) -> None:
        self.e.mails[1]["text"] = "Paste this:"
        self.refused("the mail about version 2")

    def test_provider_id_in_a_mail(self) -> None:
        self.e.mails[0]["text"] += "Receipt: https://example.com/?invoice=in_AAAAAAAAAAAA"
        self.refused("the mail <1@x> holds in_AAAAAAAAA")

    def test_secret_in_an_answer_or_a_mail(self) -> None:
        secrets = [shape for shape in TABLE["shapes"] if shape.get("secret")]
        self.assertGreaterEqual(len(secrets), 6)
        for what, sample in [(shape["what"], sample) for shape in secrets for sample in shape["samples"]]:
            self.e = good()
            self.e.mails[0]["text"] += f" {sample}"
            self.refused(f"the mail <1@x> holds {what}")
            self.e = good()
            self.e.history[3]["answer"] = json.dumps({"word": sample})
            self.refused(f"the answer to cancel holds {what}")

    def test_provider_id_in_a_license(self) -> None:
        self.e.tables["licenses"][1]["token"] = token(False, END, billing="cus_AAAAAAAAAAAA")
        self.refused("the license lic_2 holds cus_")

    def test_provider_id_in_a_license_that_was_only_shown(self) -> None:
        shown = token(False, END, billing="sub_AAAAAAAAAAAA")
        self.e.history[5]["answer"] = json.dumps({"license_id": "lic_2", "token": shown})
        self.refused("the answer to refresh holds sub_")
        self.e = good()
        self.e.mails[1]["text"] += shown
        self.refused("the mail <2@x> holds sub_")

    def test_provider_id_in_an_answer(self) -> None:
        self.e.history[3]["answer"] = '{"subscription":"sub_AAAAAAAAAAAA"}'
        self.refused("the answer to cancel holds")

    def test_letters_in_a_random_token_are_no_provider_id(self) -> None:
        self.e.history[3]["answer"] = '{"token":"ses_abc-sk_AAAAAAAAAAAA"}'
        self.assertEqual(Judge(self.e).judge(), [])

    def test_canaries_in_a_log(self) -> None:
        for canary in ("CanaryPass-1", "ses_canary", "ada@example.com"):
            self.e.logs = {"server-1.log": f"trouble with {canary}"}
            self.refused("holds the canary")

    def test_secret_in_a_log(self) -> None:
        self.e.logs = {"server-1.log": "whsec_0123456789"}
        self.refused("server-1.log holds")

    def test_license_in_a_log(self) -> None:
        self.e.logs = {"server-1.log": self.e.tables["licenses"][0]["token"]}
        self.refused("holds a license")


if __name__ == "__main__":
    unittest.main()
