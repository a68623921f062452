"""The judge: a program of its own that believes only histories, the sandbox's truth and the final database.

python check.py --history FILE --mails FILE --sandbox URL --database URL|FILE --logs FOLDER

Exits with 1, one line for each violation, or prints a summary of what was compared.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from evidence import Evidence, Row, gather, public_key
from leaks import leaks, secrets_in
from mistakes import mistakes

# Not in a random token, where any letters may stand between two dashes, and after a dot.
PROVIDER_ID = re.compile(
    r"(?<![\w.-])(?:cus|sub|si|cs_test|cs_live|cs|pi|pm|seti|in|price|prod|evt|acct|whsec|sk|rk|pk|bps|bpc|ch|re|dp)_[A-Za-z0-9]{8,}"
)
PAYMENT_ADDRESS = re.compile(r"https?://(?:127\.0\.0\.1|localhost):\d+/(?:c/pay|p/session|billing|portal)/[A-Za-z0-9_%#-]+")
# The address of a page goes when the page is done; the session that it names stays.
SESSION = re.compile(r"\bcs_(?:test|live)_[A-Za-z0-9]+")
# A license: head, claims and signature.
TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
# The longest grace of the default catalogue for the plan that the load buys, and the longest period.
GRACE_SECONDS = 7 * 86_400
PAID = ("active", "past_due")
CLOCK_SECONDS = 120


class Judge:
    def __init__(self, evidence: Evidence) -> None:
        self.e = evidence
        self.wrong: list[str] = []
        self.keys = {str(row["key_id"]): Ed25519PublicKey.from_public_bytes(public_key(str(row["public_key"]))) for row in self._t("signing_keys")}
        self.licenses: dict[str, list[Row]] = defaultdict(list)
        for row in sorted(self._t("licenses"), key=lambda one: int(one["version"])):
            self.licenses[str(row["customer_id"])].append(row)
        self.remote = self._remote()

    def _t(self, table: str) -> list[Row]:
        return self.e.tables.get(table, [])

    def _remote(self) -> dict[str, list[Row]]:
        """The sandbox's subscriptions by our customer id."""
        whose = {one["id"]: one.get("metadata", {}).get("customer_id") for one in self.e.customers}
        found: dict[str, list[Row]] = defaultdict(list)
        for one in self.e.subscriptions:
            if owner := whose.get(one["customer"]):
                found[owner].append(one)
        return found

    def judge(self) -> list[str]:
        for part in (self.something_was_tried, self.nobody_met_a_mistake, self.acknowledged, self.one_customer, self.paid_has_license,
                     self.licenses_are_due, self.nothing_waits, self.one_version_a_fact, self.mails_arrived, self.nothing_must_not_show,
                     self.nothing_is_logged):
            part()
        return self.wrong

    def something_was_tried(self) -> None:
        if not any(line["outcome"] == "ok" for line in self.e.history):
            self.wrong.append("nothing was acknowledged, so nothing was tried")

    def nobody_met_a_mistake(self) -> None:
        """Whatever is away, full or slow is answered 503. A 500 is a mistake of ours, and so is a panic that nobody was told of."""
        for line in self.e.history:
            if line["status"] == 500:
                self.wrong.append(f"{line['op']} was answered 500: {line['answer'][:300]}")
        for name, text in self.e.logs.items():
            self.wrong += [f"{name}: {mistake}" for mistake in mistakes(text)]

    def acknowledged(self) -> None:
        """Whatever was answered with success is there."""
        emails = {row["email"]: row["customer_id"] for row in self._t("customers")}
        sessions = {row["token_hash"] for row in self._t("sessions")}
        pages = {row["external_id"] for row in self._t("checkout_attempts")}
        events = {row["event_id"] for row in self._t("webhook_inbox")}
        licenses = {row["license_id"] for row in self._t("licenses")}
        for line in self.e.history:
            if line["outcome"] != "ok":
                continue
            op, args = line["op"], line["args"]
            if op == "webhook" and args["event_id"] not in events:
                self.wrong.append(f"lost acknowledgement: webhook {args['event_id']}")
            if op == "pay" and not self.remote.get(args["customer_id"]):
                self.wrong.append(f"lost acknowledgement: payment of {args['customer_id']}")
            if op == "cancel" and not any(one.get("cancel_at_period_end") for one in self.remote.get(args["customer_id"], [])):
                self.wrong.append(f"lost acknowledgement: cancelation by {args['customer_id']}")
            if op not in ("sign_up", "log_in", "checkout", "refresh", "current_license"):
                continue
            body = json.loads(line["answer"])
            if op in ("sign_up", "log_in"):
                if emails.get(args["email"]) != body["customer"]["customer_id"]:
                    self.wrong.append(f"lost acknowledgement: {op} of {body['customer']['customer_id']}")
                if hashlib.sha256(body["token"].encode()).hexdigest() not in sessions:
                    self.wrong.append(f"lost acknowledgement: session of {body['customer']['customer_id']}")
            if op == "sign_up" and body["license"]["license_id"] not in licenses:
                self.wrong.append(f"lost acknowledgement: license {body['license']['license_id']}")
            if op in ("refresh", "current_license") and body["license_id"] not in licenses:
                self.wrong.append(f"lost acknowledgement: license {body['license_id']} that was shown")
            if op == "checkout" and not any(page in pages for page in SESSION.findall(body["checkout_url"])):
                self.wrong.append(f"lost acknowledgement: checkout of {args['customer_id']}")

    def one_customer(self) -> None:
        seen = Counter((one["metadata"].get("customer_id"), one["metadata"].get("instance")) for one in self.e.customers)
        for (customer, _), count in seen.items():
            if customer and count > 1:
                self.wrong.append(f"{count} Stripe customers for {customer}")
        for customer, found in self.remote.items():
            if sum(one["status"] in (*PAID, "trialing") for one in found) > 1:
                self.wrong.append(f"more than one live subscription of {customer}")

    def claims(self, row: Row) -> Row | None:
        try:
            header = jwt.get_unverified_header(row["token"])
            if header.get("alg") != "EdDSA" or header.get("typ") != "license+jwt":
                raise jwt.InvalidTokenError(f"header {header}")
            options = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
            return dict(jwt.decode(row["token"], self.keys[header["kid"]], algorithms=["EdDSA"], options=options))
        except (jwt.PyJWTError, KeyError) as error:
            self.wrong.append(f"license {row['license_id']} does not verify: {error!r}")
            return None

    def paid_has_license(self) -> None:
        for customer, found in self.remote.items():
            if not any(one["status"] in PAID for one in found):
                continue
            newest = self.licenses[customer][-1:] or [{}]
            claims = self.claims(newest[0]) if newest[0] else None
            if claims is None or claims.get("trial") is not False:
                self.wrong.append(f"paid without a license: {customer}")
            elif claims["exp"] < max(_period_end(one) for one in found if one["status"] in PAID):
                self.wrong.append(f"license of {customer} ends before what was paid")

    def licenses_are_due(self) -> None:
        trial_end = {row["customer_id"]: _seconds(row["created_at"]) + 14 * 86_400 for row in self._t("customers") if row["created_at"]}
        for customer, rows in self.licenses.items():
            for row in rows:
                claims = self.claims(row)
                if claims is None:
                    continue
                if claims["sub"] != customer or claims["customer_id"] != customer:
                    self.wrong.append(f"license {row['license_id']} names somebody else")
                if claims["trial"]:
                    limit = trial_end.get(customer, 0) + CLOCK_SECONDS
                else:
                    limit = max((_period_end(one) for one in self.remote.get(customer, [])), default=0) + GRACE_SECONDS
                    if not self.remote.get(customer):
                        self.wrong.append(f"license {row['license_id']} without payment")
                if claims["exp"] > limit:
                    self.wrong.append(f"license {row['license_id']} outlives what was paid by {claims['exp'] - limit} s")

    def nothing_waits(self) -> None:
        for table in ("webhook_inbox", "outbox"):
            for state, count in Counter(row["state"] for row in self._t(table)).items():
                if state in ("pending", "dead"):
                    self.wrong.append(f"{count} rows of {table} are {state}")

    def one_version_a_fact(self) -> None:
        for customer, rows in self.licenses.items():
            if [int(row["version"]) for row in rows] != list(range(1, len(rows) + 1)):
                self.wrong.append(f"the versions of {customer} have gaps")
            for one, other in zip(rows, rows[1:], strict=False):
                if one["facts_digest"] == other["facts_digest"]:
                    self.wrong.append(f"two versions of {customer} about the same facts")

    def mails_arrived(self) -> None:
        arrived = {mail["message_id"]: mail["text"] for mail in self.e.mails}
        owed = {row["dedupe_key"]: row for row in self._t("outbox") if row["kind"] == "mail"}
        for customer, rows in self.licenses.items():
            for row in rows:
                mail = owed.get(f"license:{customer}:{row['version']}")
                if mail is None:
                    self.wrong.append(f"no mail was owed for version {row['version']} of {customer}")
                elif mail["message_id"] in arrived and row["token"] not in arrived[mail["message_id"]]:
                    self.wrong.append(f"the mail about version {row['version']} of {customer} came without the license")
        for key, row in owed.items():
            if row["state"] == "sent" and row["message_id"] not in arrived:
                self.wrong.append(f"the mail {key} counts as sent and never arrived")

    def nothing_must_not_show(self) -> None:
        """No id of the provider and no secret is in an answer, a mail or a license."""
        for line in self.e.history:
            # The payment page is Stripe's own, and its answers too.
            if line["op"] == "pay" or line["status"] is None:
                continue
            self._must_not_show(f"the answer to {line['op']}", line["answer"], provider_ids(PAYMENT_ADDRESS.sub("", line["answer"])))
        for mail in self.e.mails:
            self._must_not_show(f"the mail {mail['message_id']}", mail["text"], provider_ids(mail["text"]))
        for row in self._t("licenses"):
            self._must_not_show(f"the license {row['license_id']}", row["token"], provider_ids(row["token"]))

    def _must_not_show(self, where: str, text: str, ids: list[str]) -> None:
        self.wrong += [f"{where} holds {found[:12]}…" for found in ids]
        self.wrong += [f"{where} holds {what}" for what in secrets_in(text)]

    def nothing_is_logged(self) -> None:
        canaries = set()
        for line in self.e.history:
            if "email" in line["args"]:
                canaries.add(line["args"]["email"])
            canaries.update(value for value in (line["args"].get("password"),) if value)
            if line["outcome"] == "ok" and line["op"] in ("sign_up", "log_in"):
                body = json.loads(line["answer"])
                canaries.add(body["token"])
        for name, text in self.e.logs.items():
            for canary in canaries:
                if canary in text:
                    self.wrong.append(f"{name} holds the canary {canary[:12]}…")
            self.wrong += [f"{name} holds {leak}" for leak in leaks(text)]
            for token in {str(row["token"]).rsplit(".", 1)[-1] for row in self._t("licenses")}:
                if token in text:
                    self.wrong.append(f"{name} holds a license")


def provider_ids(text: str) -> list[str]:
    """Those of a text, and those inside the licenses in it. Whether these are good is not asked here."""
    inside = [_opened(part) for token in TOKEN.findall(text) for part in token.split(".")[:2]]
    return [found for one in (text, *inside) for found in PROVIDER_ID.findall(one)]


def _opened(part: str) -> str:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode("utf-8", "replace")
    except ValueError:
        return ""  # It only looks like a part of a license, and nobody can read anything in it.


def _period_end(subscription: Row) -> int:
    return max(int(item["current_period_end"]) for item in subscription["items"]["data"])


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def summary(evidence: Evidence) -> str:
    outcomes = Counter(line["outcome"] for line in evidence.history)
    oks = Counter(line["op"] for line in evidence.history if line["outcome"] == "ok")
    parts = ", ".join(f"{op} {count}" for op, count in sorted(oks.items()))
    return (
        f"0 violations in {sum(outcomes.values())} operations ({outcomes['ok']} acknowledged: {parts}; {outcomes['refused']} refused, "
        f"{outcomes['unknown']} unknown), {len(evidence.tables['licenses'])} licenses, {len(evidence.customers)} Stripe customers, "
        f"{len(evidence.subscriptions)} subscriptions, {len(evidence.mails)} mails"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("history", "mails", "logs"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("sandbox", "database"):
        parser.add_argument(f"--{name}")
    args = parser.parse_args()
    evidence = gather(args.history, args.mails, args.sandbox, args.database, args.logs)
    wrong = Judge(evidence).judge()
    print("\n".join(wrong) if wrong else summary(evidence))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
