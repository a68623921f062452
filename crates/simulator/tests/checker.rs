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

fn items(price: &str) -> Value {
    json!({ "data": [{ "price": { "id": price }, "current_period_end": MONTH_END }] })
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
    evidence.secrets.push(("the API key", "sk_test_sandbox"));
    evidence.jwks = KeySet::new([SigningKey::from_seed(&[7; 32]).public()]).expect("one key").to_jwks().to_string();
    evidence.plan_of_price.insert("price_pro".into(), "professional".into());
    evidence.grace_days.insert("professional".into(), 7);
    evidence.truth.customers.push(json!({ "id": "cus_A1", "metadata": { "customer_id": ADA } }));
    evidence.truth.subscriptions.push(json!({
        "id": "sub_A1", "customer": "cus_A1", "status": "active", "created": NOW - 2_000, "items": items("price_pro"),
    }));
    evidence.truth.invoices.push(json!({
        "id": "in_A1", "parent": { "subscription_details": { "subscription": "sub_A1" } },
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

fn seen(status: &str) -> Seen {
    Seen {
        customer_id: ADA.into(),
        subscription: Some("sub_A1".into()),
        status: status.into(),
        plan: "professional".into(),
        ends: false,
        period_ends_at: Some(MONTH_END),
    }
}

/// The subscription becomes this at Stripe.
fn becomes(it: &mut Evidence, price: &str, change: impl FnOnce(&mut Value)) {
    let mut object = json!({
        "object": "subscription", "id": "sub_A1", "customer": "cus_A1", "status": "active", "items": items(price), "cancel_at": null,
    });
    change(&mut object);
    it.history.note_versions(1.0, &[object]);
}

fn stays(_: &mut Value) {}

fn will_end(object: &mut Value) {
    object["cancel_at"] = json!(MONTH_END);
}

#[test]
fn an_end_stays() {
    let back = |it: &mut Evidence| {
        becomes(it, "price_pro", stays);
        becomes(it, "price_pro", |object| object["status"] = json!("canceled"));
        becomes(it, "price_pro", stays);
        it.history.seen.extend([seen("canceled"), seen("active")]);
    };
    assert_eq!(broken_rules(back), ["S4"]);
    let running = seen("active");
    let ending = Seen { ends: true, ..seen("active") };
    let changed = |it: &mut Evidence, states: &[&Seen]| {
        becomes(it, "price_pro", stays);
        becomes(it, "price_pro", will_end);
        it.history.seen.extend(states.iter().copied().cloned());
    };
    assert_eq!(broken_rules(|it| changed(it, &[&running, &ending])), [""; 0]);
    assert_eq!(broken_rules(|it| changed(it, &[&ending, &running])), ["S4"], "somebody wrote what was true before");
    let changed_back = |it: &mut Evidence| {
        changed(it, &[&ending, &running]);
        becomes(it, "price_pro", stays);
    };
    assert_eq!(broken_rules(changed_back), [""; 0]);
}

#[test]
fn what_is_written_was_so_and_not_long_before() {
    let late = |object: &mut Value| object["status"] = json!("past_due");
    let renewed = |object: &mut Value| object["items"]["data"][0]["current_period_end"] = json!(MONTH_END + 1);
    let next = Seen { period_ends_at: Some(MONTH_END + 1), ..seen("active") };
    let wrote = |states: &[Seen], lived: &[fn(&mut Value)]| {
        broken_rules(|it| {
            becomes(it, "price_pro", stays);
            lived.iter().for_each(|change| becomes(it, "price_pro", change));
            it.history.seen.extend(states.iter().cloned());
        })
    };
    assert_eq!(wrote(&[seen("active"), seen("past_due")], &[late]), [""; 0]);
    assert_eq!(wrote(&[seen("past_due"), seen("active")], &[late]), ["S4"], "the money has not come");
    assert_eq!(wrote(&[seen("active"), next.clone()], &[renewed]), [""; 0]);
    assert_eq!(wrote(&[next.clone(), seen("active")], &[renewed]), ["S4"], "the period before");
    assert_eq!(wrote(&[next], &[]), ["S4"], "a period that never was");
    assert_eq!(wrote(&[seen("past_due")], &[]), ["S4"], "a word that Stripe never said");
    assert_eq!(wrote(&[seen("canceled")], &[]), ["S4"], "an end that never was");
    let other = Seen { plan: "starter".into(), ..seen("active") };
    assert_eq!(wrote(&[other], &[]), ["S4"], "a plan that never was");
    let unknown = Seen { subscription: Some("sub_A2".into()), ..seen("active") };
    assert_eq!(wrote(&[unknown], &[]), ["S4"], "a subscription that never was");
    let after_trial = |object: &mut Value| object["trial_end"] = json!(NOW);
    assert_eq!(wrote(&[seen("trialing")], &[after_trial]), [""; 0], "until money comes, it is the trial");
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
        becomes(it, "price_pro", stays);
        it.history.answers.push(answer(0, call, &subscription));
    };
    let (change, cancel) = ("POST /api/subscriptions/change", "POST /api/subscriptions/cancel");
    let resume = "POST /api/subscriptions/resume";
    let same = json!({ "plan": "professional", "cancel_at": null });
    assert_eq!(broken_rules(|it| told(it, change, same)), [""; 0]);
    let other = json!({ "plan": "starter", "cancel_at": null });
    assert_eq!(broken_rules(|it| told(it, change, other)), ["S5"], "a change that never was");
    let ends = json!({ "plan": "professional", "cancel_at": "2027-02-01T00:00:00Z" });
    assert_eq!(broken_rules(|it| told(it, cancel, ends)), ["S5"], "a cancellation that never was");
    let goes_on = |it: &mut Evidence| {
        becomes(it, "price_pro", will_end);
        it.history.answers.push(answer(0, resume, &json!({ "plan": "professional", "cancel_at": null })));
    };
    assert_eq!(broken_rules(goes_on), ["S5"], "a resumption that never was");
    let went_on = |it: &mut Evidence| {
        goes_on(it);
        becomes(it, "price_pro", stays);
    };
    assert_eq!(broken_rules(went_on), [""; 0]);
}

#[test]
fn each_version_has_facts_and_a_mail_of_its_own() {
    let same = |it: &mut Evidence| drop(it.book.licenses[1].insert("facts_digest", "1".into()));
    assert_eq!(broken_rules(same), ["S6"]);
    let again = |change: fn(&mut Claims)| {
        move |it: &mut Evidence| {
            let token = token(|claims| {
                (claims.iat, claims.nbf, claims.ver, claims.jti) = (NOW - 900, NOW - 960, 3, "lic_3".into());
                claims.exp = MONTH_END + 7 * 86_400;
                change(claims);
            });
            let third = [("version", "3".to_owned()), ("facts_digest", "3".to_owned()), ("token", token)];
            it.book.licenses.push(it.book.licenses[1].clone().into_iter().chain(third).collect());
            let mail = [("dedupe_key", format!("license:{ADA}:3"))];
            it.book.outbox.push(it.book.outbox[1].clone().into_iter().chain(mail).collect());
        }
    };
    assert_eq!(broken_rules(again(|_| {})), ["S6"], "the digests differ, and what was signed does not");
    assert_eq!(broken_rules(again(|claims| claims.status = "past_due".into())), [""; 0]);
    let withdrawn = |it: &mut Evidence| {
        again(|_| {})(it);
        it.book.licenses[1].insert("revoked_at", "2027-01-16T00:00:00Z".into());
    };
    assert_eq!(broken_rules(withdrawn), [""; 0], "the one before is none any more");
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
    let key = answer(0, "GET /api/customers/me", &json!({ "note": "by sk_test_sandbox" }));
    assert_eq!(broken_rules(|it| it.history.answers.push(key)), ["S8"], "a secret that looks like a word");
    assert_eq!(broken_rules(|it| it.history.mails[0].body_text = "sk_test_sandbox".into()), ["S8"]);
    assert_eq!(broken_rules(|it| it.history.trespasses.push((1, ADA.into(), 404))), [""; 0]);
    assert_eq!(broken_rules(|it| it.history.trespasses.push((1, ADA.into(), 200))), ["S7"]);
    let word = answer(0, "GET /api/customers/me", &json!({ "status": "in_progress" }));
    assert_eq!(broken_rules(|it| it.history.answers.push(word)), [""; 0]);
}

#[test]
fn forged_events_and_second_trials_are_seen() {
    assert_eq!(broken_rules(|it| it.history.forged.push(("evt_f".into(), 200))), ["S9"]);
    assert_eq!(broken_rules(|it| it.history.replayed.push(("evt_1".into(), 200))), ["S9"]);
    let foreign = |state: &'static str, customer: &'static str| {
        broken_rules(move |it| {
            it.history.foreign.push("evt_foreign".into());
            let mut row = processed("evt_foreign");
            row.extend([("state", state.to_owned()), ("customer_id", customer.to_owned())]);
            it.book.inbox.push(row);
        })
    };
    assert_eq!(foreign("processed", ADA), ["S9"]);
    assert_eq!(foreign("ignored", ""), [""; 0]);
    let again = token(|claims| (claims.trial, claims.iat, claims.exp) = (true, NOW - 900, NOW + 14 * 86_400));
    let told = json!({ "customer": { "customer_id": ADA }, "license": { "token": again } });
    let signup = answer(0, "POST /api/customers/signup", &told);
    assert!(broken_rules(|it| it.history.answers.push(signup)).contains(&"S10"));
}

#[test]
fn a_second_trial_is_seen_in_whichever_account_it_is() {
    let other = |begun: i64| {
        move |it: &mut Evidence| {
            let trial = token(|claims| {
                (claims.customer_id, claims.sub) = ("cust_ada2".into(), "cust_ada2".into());
                (claims.trial, claims.iat, claims.exp) = (true, NOW - 900, begun + 14 * 86_400);
                claims.plan = "trial".into();
            });
            let named = json!({ "customer": { "customer_id": "cust_ada2" } });
            it.history.answers.push(answer(0, "POST /api/customers/login", &named));
            let row = it.book.licenses[0].clone();
            it.book.licenses.push(row);
            it.book.licenses[2].extend([("customer_id", "cust_ada2".to_owned()), ("token", trial.clone())]);
            let mail = [("dedupe_key", "license:cust_ada2:1".to_owned())];
            it.book.outbox.push(it.book.outbox[0].clone().into_iter().chain(mail).collect());
            it.history.answers.push(answer(0, "GET /api/licenses/current", &json!({ "token": trial })));
        }
    };
    assert_eq!(broken_rules(other(NOW - 900)), ["S10"]);
    assert_eq!(broken_rules(other(BEGUN)), [""; 0], "what was left of the first");
}

#[test]
fn what_was_paid_for_one_subscription_is_not_paid_for_the_next() {
    let year_end = NOW + 400 * 86_400;
    let canceled_year = |it: &mut Evidence| {
        let (mut year, mut paid) = (it.truth.subscriptions[0].clone(), it.truth.invoices[0].clone());
        (year["id"], year["status"]) = (json!("sub_A0"), json!("canceled"));
        (year["created"], year["ended_at"]) = (json!(NOW - 9_000), json!(NOW - 4_000));
        paid["parent"]["subscription_details"]["subscription"] = json!("sub_A0");
        paid["status_transitions"]["paid_at"] = json!(NOW - 9_000);
        paid["lines"]["data"][0]["period"]["end"] = json!(year_end);
        it.truth.subscriptions.insert(0, year);
        it.truth.invoices.insert(0, paid);
    };
    let shown = |it: &mut Evidence, at: i64| {
        let long = token(|claims| (claims.iat, claims.exp) = (at, year_end));
        it.history.mails[0].body_text = format!("Take this: {long}.");
    };
    assert_eq!(broken_rules(canceled_year), [""; 0]);
    let while_it_ran = |it: &mut Evidence| {
        canceled_year(it);
        shown(it, NOW - 6_000);
    };
    assert_eq!(broken_rules(while_it_ran), [""; 0]);
    let after_it = |it: &mut Evidence| {
        canceled_year(it);
        shown(it, NOW - 1_000);
    };
    assert_eq!(broken_rules(after_it), ["S3"]);
}

#[test]
fn who_pays_has_a_license_and_who_does_not_has_none() {
    let none = |it: &mut Evidence| it.people[0].license.as_mut().expect("an answer").body = "{}".into();
    assert_eq!(broken_rules(none), ["L1"]);
    let no_page = |it: &mut Evidence| it.people[0].page.as_mut().expect("an answer").status = 503;
    assert_eq!(broken_rules(no_page), ["L1"]);
    let other_page = |it: &mut Evidence| it.people[0].page.as_mut().expect("an answer").body = "<h2>Trial</h2>".into();
    assert_eq!(broken_rules(other_page), ["L1"]);
    let contested = |period_end: i64| {
        move |it: &mut Evidence| {
            none(it);
            let mut invoice = it.truth.invoices[0].clone();
            invoice["id"] = json!("in_A0");
            invoice["lines"]["data"][0]["period"]["end"] = json!(period_end);
            it.truth.invoices.insert(0, invoice);
            it.history.contested.insert("in_A0".into());
        }
    };
    assert_eq!(broken_rules(contested(MONTH_END)), [""; 0], "that money went back");
    assert_eq!(broken_rules(contested(NOW - 30 * 86_400)), ["L1"], "that was the money of another period");
    let ended = |it: &mut Evidence| {
        (it.truth.subscriptions[0]["status"], it.truth.subscriptions[0]["ended_at"]) =
            (json!("canceled"), json!(NOW - 500));
    };
    assert_eq!(broken_rules(ended), ["L2"], "nobody says that the licence has ended");
    let over = |it: &mut Evidence| {
        ended(it);
        it.people[0].subscription = None;
        it.people[0].validation = Some(answer(0, "POST /api/licenses/validate", &json!({ "valid": false })));
    };
    assert_eq!(broken_rules(over), [""; 0]);
    let works_offline = |it: &mut Evidence| {
        over(it);
        it.truth.subscriptions[0]["ended_at"] = json!(NOW - 1_000 - 901);
    };
    assert_eq!(broken_rules(works_offline), ["L2"], "it was signed after the end");
    let unanswered = |it: &mut Evidence| {
        over(it);
        it.people[0].license = None;
    };
    assert_eq!(broken_rules(unanswered), ["L2"]);
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
