//! The judge must say no: a history in which every rule holds, and for each rule one in which it does not.

use counterfoil_license::{Claims, KeySet, SigningKey};
use counterfoil_simulator::checker::judge;
use counterfoil_simulator::evidence::{Columns, Evidence, Person};
use counterfoil_simulator::history::{Answer, Mail, Seen};
use serde_json::{Value, json};

const NOW: i64 = 1_800_100_000;
const BEGUN: i64 = NOW - 50_000;
const MONTH_END: i64 = NOW + 30 * 86_400;
const ADA: &str = "cust_ada";

fn token(change: impl FnOnce(&mut Claims)) -> String {
    let mut claims = Claims {
        iss: "http://billing.example".into(),
        sub: ADA.into(),
        customer_id: ADA.into(),
        aud: "product".into(),
        iat: NOW - 1_000,
        nbf: NOW - 1_060,
        exp: MONTH_END,
        jti: "lic_1".into(),
        ver: 1,
        plan: "professional".into(),
        status: "active".into(),
        trial: false,
        features: Vec::new(),
        limits: [].into(),
        paid_until: MONTH_END,
        grace_until: MONTH_END,
        refresh_after: NOW + 1_000,
        status_list: None,
    };
    change(&mut claims);
    SigningKey::from_seed(&[7; 32]).sign(&claims)
}

fn answer(user: usize, call: &str, body: &Value) -> Answer {
    Answer { at: 1.0, user, call: call.into(), status: 200, headers: String::new(), body: body.to_string() }
}

fn row(columns: &[(&'static str, &str)]) -> Columns {
    columns.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn processed(event: &str) -> Columns {
    let columns = [("event_type", "invoice.paid"), ("customer_id", ADA), ("state", "processed"), ("source", "webhook")];
    let mut row = row(&[("event_id", event), ("because", ""), ("error", "")]);
    row.extend(columns.map(|(name, value)| (name, value.to_owned())));
    row
}

/// Ada has tried, has paid, and everything is in order.
fn good() -> Evidence {
    let mut evidence = Evidence { now: NOW, trial_days: 14, ..Evidence::default() };
    evidence.issuer = "http://billing.example".into();
    evidence.audience = "product".into();
    evidence.jwks = KeySet::new([SigningKey::from_seed(&[7; 32]).public()]).expect("one key").to_jwks().to_string();
    evidence.plan_of_price.insert("price_pro".into(), "professional".into());
    evidence.grace_days.insert("professional".into(), 7);
    evidence.truth.customers.push(json!({ "id": "cus_A1", "metadata": { "customer_id": ADA } }));
    evidence.truth.subscriptions.push(json!({
        "id": "sub_A1", "customer": "cus_A1", "status": "active", "items": { "data": [{ "price": { "id": "price_pro" } }] },
    }));
    evidence.truth.invoices.push(json!({
        "customer": "cus_A1", "status": "paid", "status_transitions": { "paid_at": NOW - 2_000 },
        "lines": { "data": [{ "period": { "end": MONTH_END } }] },
    }));
    let trial = token(|claims| {
        (claims.trial, claims.iat, claims.exp, claims.plan) = (true, BEGUN, BEGUN + 14 * 86_400, "trial".into());
    });
    let paid = token(|claims| claims.exp = MONTH_END + 7 * 86_400);
    evidence.book.customers.push(row(&[
        ("customer_id", ADA),
        ("email", "ada@x.example"),
        ("external", ""),
        ("deleted_at", ""),
    ]));
    evidence.book.subscriptions.push(row(&[("customer_id", ADA)]));
    for (version, token) in [("1", &trial), ("2", &paid)] {
        evidence.book.licenses.push(row(&[
            ("customer_id", ADA),
            ("version", version),
            ("token", token),
            ("facts_digest", version),
            ("terms_digest", ""),
            ("revoked_at", ""),
            ("plan", "professional"),
        ]));
        let key = format!("license:{ADA}:{version}");
        evidence.book.outbox.push(row(&[
            ("dedupe_key", &key),
            ("state", "sent"),
            ("message_id", version),
            ("error", ""),
        ]));
        evidence.history.mails.push(Mail {
            recipient: "ada@x.example".into(),
            subject: "Your licence".into(),
            body_text: "Here it is.".into(),
            message_id: version.into(),
        });
    }
    evidence.book.inbox.push(processed("evt_1"));
    evidence.history.acknowledged.push("evt_1".into());
    let told = json!({ "customer": { "customer_id": ADA }, "license": { "token": trial } });
    evidence.history.answers.push(answer(0, "POST /api/customers/signup", &told));
    evidence.people.push(Person {
        number: 0,
        email: "ada@x.example".into(),
        customer_id: Some(ADA.into()),
        log_in: Some(answer(0, "POST /api/customers/login", &json!({}))),
        license: Some(answer(0, "GET /api/licenses/current", &json!({ "token": paid, "plan": "professional" }))),
        subscription: Some(answer(0, "GET /api/subscriptions/current", &json!({ "status": "active" }))),
        page: Some(Answer { body: "<h2>Professional</h2>".into(), ..answer(0, "GET /account", &Value::Null) }),
        ..Person::default()
    });
    evidence.people.push(Person { number: 1, email: "bob@x.example".into(), ..Person::default() });
    evidence
}

fn broken_rules(spoil: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    let mut evidence = good();
    spoil(&mut evidence);
    let mut rules: Vec<&str> = judge(&evidence).into_iter().map(|(rule, _)| rule).collect();
    rules.dedup();
    rules
}

#[test]
fn a_good_history_is_good() {
    assert_eq!(judge(&good()), []);
}

#[test]
fn customers_and_subscriptions_are_counted() {
    assert_eq!(
        broken_rules(|it| it.truth.customers.push(json!({ "id": "cus_A2", "metadata": { "customer_id": ADA } }))),
        ["S1"]
    );
    let twice = |it: &mut Evidence| it.truth.subscriptions.push(it.truth.subscriptions[0].clone());
    assert_eq!(broken_rules(twice), ["S2"]);
    let beside = |ended_at: i64| {
        move |it: &mut Evidence| {
            let mut other = it.truth.subscriptions[0].clone();
            (other["status"], other["ended_at"]) = (json!("canceled"), json!(ended_at));
            other["created"] = json!(1);
            it.truth.subscriptions[0]["created"] = json!(1_000);
            it.truth.subscriptions.push(other);
        }
    };
    assert_eq!(broken_rules(beside(1_001)), ["S2"], "for a second there were two");
    assert_eq!(broken_rules(beside(1_000)), [""; 0], "the one followed the other");
    let stranger = |it: &mut Evidence| it.truth.customers.push(json!({ "id": "cus_B1", "metadata": {} }));
    assert_eq!(broken_rules(stranger), [""; 0], "others have customers there, too");
    let deleted = json!({ "id": "cus_A0", "_deleted": true, "metadata": { "customer_id": ADA } });
    assert_eq!(broken_rules(|it| it.truth.customers.push(deleted)), [""; 0], "somebody has tidied up there");
    let linked = |it: &mut Evidence| {
        stranger(it);
        it.book.customers[0].insert("external", "cus_B1".into());
    };
    assert_eq!(broken_rules(linked), ["S1"]);
}

#[test]
fn a_signature_beyond_the_money_is_seen_wherever_it_was_shown() {
    let late = token(|claims| claims.exp = MONTH_END + 8 * 86_400);
    let mailed = |it: &mut Evidence| it.history.mails[0].body_text = format!("Take this: {late}.");
    assert_eq!(broken_rules(mailed), ["S3"]);
    assert_eq!(broken_rules(|it| it.truth.invoices[0]["status"] = json!("open")), ["S3"], "nothing is paid");
    let endless = |it: &mut Evidence| it.truth.invoices[0]["status_transitions"]["paid_at"] = json!(NOW + 5_000);
    assert_eq!(broken_rules(endless), ["S3"], "it was signed before the money came");
}

#[test]
fn an_end_stays() {
    let seen = |status: &str| Seen {
        customer_id: ADA.into(),
        subscription: Some("sub_A1".into()),
        status: status.into(),
        plan: "professional".into(),
        ends: false,
        period_ends_at: None,
    };
    let back = |it: &mut Evidence| it.history.seen.extend([seen("canceled"), seen("active")]);
    assert_eq!(broken_rules(back), ["S4"]);
    let at_stripe = |it: &mut Evidence, price: &str, cancel_at: Option<i64>| {
        let items = json!({ "data": [{ "price": { "id": price } }] });
        let object = json!({ "object": "subscription", "id": "sub_A1", "items": items, "cancel_at": cancel_at });
        it.history.note_version(&json!({ "data": { "object": object } }).to_string());
    };
    let ending = Seen { ends: true, ..seen("active") };
    let changed = |it: &mut Evidence, states: &[&Seen]| {
        at_stripe(it, "price_pro", None);
        at_stripe(it, "price_pro", Some(MONTH_END));
        it.history.seen.extend(states.iter().copied().cloned());
    };
    let running = seen("active");
    assert_eq!(broken_rules(|it| changed(it, &[&running, &ending])), [""; 0]);
    assert_eq!(broken_rules(|it| changed(it, &[&ending, &running])), ["S4"], "somebody wrote what was true before");
    let changed_back = |it: &mut Evidence| {
        changed(it, &[&ending, &running]);
        at_stripe(it, "price_pro", None);
    };
    assert_eq!(broken_rules(changed_back), [""; 0]);
}

#[test]
fn what_was_acknowledged_must_be_there() {
    assert_eq!(broken_rules(|it| it.history.acknowledged.push("evt_2".into())), ["S5"]);
    assert_eq!(broken_rules(|it| it.book.customers.clear()), ["S5"]);
    let refused = |it: &mut Evidence| it.people[0].log_in.as_mut().expect("an answer").status = 401;
    assert_eq!(broken_rules(refused), ["S5"]);
    let told =
        answer(0, "POST /api/subscriptions/checkout", &json!({ "checkout_url": "http://pay.example/c/pay/gone" }));
    assert_eq!(broken_rules(|it| it.history.answers.push(told)), ["S5"]);
}

#[test]
fn what_an_answer_promised_must_be_there() {
    let other = token(|claims| claims.jti = "lic_lost".into());
    let shown = answer(0, "POST /api/licenses/refresh", &json!({ "token": other }));
    assert_eq!(broken_rules(|it| it.history.answers.push(shown)), ["S5"], "a licence that nobody can revoke");
    let page =
        answer(0, "POST /api/subscriptions/checkout", &json!({ "checkout_url": "http://pay.example/cs_test_1" }));
    let opened = |it: &mut Evidence| {
        it.truth.sessions.push(json!({ "id": "cs_test_1" }));
        it.history.answers.push(page.clone());
    };
    assert_eq!(broken_rules(opened), ["S5"], "a payment page of which we do not know");
    let known = |it: &mut Evidence| {
        opened(it);
        it.book.attempts.push(row(&[("customer_id", ADA), ("external", "cs_test_1")]));
    };
    assert_eq!(broken_rules(known), [""; 0]);
    let told = |it: &mut Evidence, call: &str, subscription: Value| {
        let items = json!({ "data": [{ "price": { "id": "price_pro" } }] });
        let object = json!({ "object": "subscription", "id": "sub_A1", "items": items, "cancel_at": null });
        it.history.note_version(&json!({ "data": { "object": object } }).to_string());
        it.history.answers.push(answer(0, call, &subscription));
    };
    let (change, cancel) = ("POST /api/subscriptions/change", "POST /api/subscriptions/cancel");
    let stays = json!({ "plan": "professional", "cancel_at": null });
    assert_eq!(broken_rules(|it| told(it, change, stays)), [""; 0]);
    let other = json!({ "plan": "starter", "cancel_at": null });
    assert_eq!(broken_rules(|it| told(it, change, other)), ["S5"], "a change that never was");
    let ends = json!({ "plan": "professional", "cancel_at": "2027-02-01T00:00:00Z" });
    assert_eq!(broken_rules(|it| told(it, cancel, ends)), ["S5"], "a cancellation that never was");
}

#[test]
fn each_version_has_facts_and_a_mail_of_its_own() {
    let same = |it: &mut Evidence| drop(it.book.licenses[1].insert("facts_digest", "1".into()));
    assert_eq!(broken_rules(same), ["S6"]);
    assert_eq!(broken_rules(|it| drop(it.book.outbox.pop())), ["S6"]);
    assert_eq!(broken_rules(|it| drop(it.history.mails.pop())), ["S6"]);
}

#[test]
fn nobody_sees_others_or_the_provider() {
    let others = answer(1, "GET /api/customers/me", &json!({ "email": "ada@x.example" }));
    assert_eq!(broken_rules(|it| it.history.answers.push(others)), ["S7"]);
    for id in ["cus_Ab3defgh", "cs_test_a1B2c3D4e5", "whsec_simulated0000"] {
        let shown = answer(0, "GET /api/customers/me", &json!({ "note": id }));
        assert_eq!(broken_rules(|it| it.history.answers.push(shown)), ["S8"], "{id}");
    }
    assert_eq!(broken_rules(|it| it.history.trespasses.push((1, ADA.into(), 404))), [""; 0]);
    assert_eq!(broken_rules(|it| it.history.trespasses.push((1, ADA.into(), 200))), ["S7"]);
    let word = answer(0, "GET /api/customers/me", &json!({ "status": "in_progress" }));
    assert_eq!(broken_rules(|it| it.history.answers.push(word)), [""; 0]);
}

#[test]
fn forged_events_and_second_trials_are_seen() {
    assert_eq!(broken_rules(|it| it.history.forged.push(("evt_f".into(), 200))), ["S9"]);
    let again = token(|claims| (claims.trial, claims.iat, claims.exp) = (true, NOW - 900, NOW + 14 * 86_400));
    let told = json!({ "customer": { "customer_id": ADA }, "license": { "token": again } });
    let signup = answer(0, "POST /api/customers/signup", &told);
    assert!(broken_rules(|it| it.history.answers.push(signup)).contains(&"S10"));
}

#[test]
fn who_pays_has_a_license_and_who_does_not_has_none() {
    let none = |it: &mut Evidence| it.people[0].license.as_mut().expect("an answer").body = "{}".into();
    assert_eq!(broken_rules(none), ["L1"]);
    let no_page = |it: &mut Evidence| it.people[0].page.as_mut().expect("an answer").status = 503;
    assert_eq!(broken_rules(no_page), ["L1"]);
    let other_page = |it: &mut Evidence| it.people[0].page.as_mut().expect("an answer").body = "<h2>Trial</h2>".into();
    assert_eq!(broken_rules(other_page), ["L1"]);
    let ended = |it: &mut Evidence| it.truth.subscriptions[0]["status"] = json!("canceled");
    assert_eq!(broken_rules(ended), ["L2"]);
    let goes_on = |it: &mut Evidence| {
        ended(it);
        it.people[0].subscription = None;
        it.people[0].validation = Some(answer(0, "POST /api/licenses/validate", &json!({ "valid": true })));
    };
    assert_eq!(broken_rules(goes_on), ["L2"]);
}

#[test]
fn soon_after_all_is_mended_the_book_says_what_stripe_says() {
    let soon = |it: &mut Evidence, status: &str, plan: &str| {
        it.soon.0.subscriptions = it.truth.subscriptions.clone();
        it.soon.1.customers = it.book.customers.clone();
        it.soon.1.customers[0].insert("external", "cus_A1".into());
        let columns =
            [("customer_id", ADA), ("external", "sub_A1"), ("status", status), ("plan", plan), ("cancel_at", "")];
        it.soon.1.subscriptions.push(row(&columns));
        (it.soon.0.invoices, it.soon.1.licenses) = (it.truth.invoices.clone(), it.book.licenses.clone());
        it.soon.1.outbox = it.book.outbox.clone();
    };
    assert_eq!(broken_rules(|it| soon(it, "active", "professional")), [""; 0]);
    let spoiled = |spoil: fn(&mut Evidence)| {
        broken_rules(|it| {
            soon(it, "active", "professional");
            spoil(it);
        })
    };
    assert_eq!(spoiled(|it| it.soon.1.licenses.clear()), ["L1"], "no licence");
    assert_eq!(spoiled(|it| drop(it.soon.1.licenses[1].insert("plan", "starter".into()))), ["L1"], "another one");
    assert_eq!(spoiled(|it| drop(it.soon.1.outbox[1].insert("state", "pending".into()))), ["L1"], "no mail");
    let refused = |it: &mut Evidence| {
        it.soon.1.outbox[1].extend([("state", "pending".to_owned()), ("error", "no connection".to_owned())]);
    };
    assert_eq!(spoiled(refused), [""; 0], "it is tried again");
    assert_eq!(spoiled(|it| it.soon.0.invoices[0]["status"] = json!("open")), [""; 0], "the money is on its way");
    assert_eq!(broken_rules(|it| soon(it, "active", "starter")), ["L1"]);
    assert_eq!(broken_rules(|it| soon(it, "trialing", "professional")), ["L1"]);
    let not_ending = |it: &mut Evidence| {
        soon(it, "active", "professional");
        it.soon.0.subscriptions[0]["cancel_at"] = json!(MONTH_END);
    };
    assert_eq!(broken_rules(not_ending), ["L1"], "the end that was planned is not known");
    let lost = |it: &mut Evidence| {
        soon(it, "active", "starter");
        it.soon.1.licenses[1].insert("plan", "starter".into());
        it.history.unheard.insert("cus_A1".into());
    };
    assert_eq!(broken_rules(lost), [""; 0], "of that nobody told us");
    let unseen = |it: &mut Evidence| {
        soon(it, "active", "professional");
        it.soon.1.inbox.push(processed("evt_1"));
        it.history.sent.insert("evt_1".into(), 7.0);
        it.history.note_look(6.5, "GET", "/v1/subscriptions?status=all&customer=cus_A1&limit=100");
        it.history.note_look(8.0, "POST", "/v1/subscriptions?customer=cus_A1");
    };
    assert_eq!(broken_rules(unseen), ["L1"], "it came after the look");
    let seen = |it: &mut Evidence| {
        unseen(it);
        it.history.note_look(7.5, "GET", "/v1/subscriptions?customer=cus_A1");
    };
    assert_eq!(broken_rules(seen), [""; 0]);
    let unknown = |it: &mut Evidence| {
        lost(it);
        it.soon.1.subscriptions.clear();
    };
    assert_eq!(broken_rules(unknown), ["L1"], "an open payment page is looked at all the same");
}

#[test]
fn nothing_may_be_left_over_and_nothing_may_break() {
    assert_eq!(broken_rules(|it| drop(it.book.inbox[0].insert("state", "dead".into()))), ["L3"]);
    assert_eq!(broken_rules(|it| drop(it.book.inbox[0].insert("state", "ignored".into()))), ["L3"]);
    assert_eq!(broken_rules(|it| it.book.leases.push(row(&[("customer_id", ADA)]))), ["L3"]);
    assert_eq!(broken_rules(|it| it.truth.undelivered = 1), ["L3"]);
    assert_eq!(broken_rules(|it| it.history.breaches.push("a call inside a transaction".into())), ["W"]);
}
