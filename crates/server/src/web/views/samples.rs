//! Every page in its usual and its extreme states, with made-up data: for tests, and for people to look at.

use super::*;

mod entry;
mod license;

const NASTY: &str = "<script>alert('x')</script> \"Quotes\" & Sons";
const CUSTOMER: &str = "cust_0f5b6c1d9e8a47b3a2c4d5e6f7081920";

mod mailbox;

pub(super) use license::with_history;
use mailbox::{license_mail_body, mail, mails};

fn frame(signed_in: bool) -> Frame {
    Frame {
        signed_in,
        sandbox: true,
        support_email: Some("help@ledgerline.example".into()),
        asset_base: "assets".into(),
        ..Frame::new("Ledgerline")
    }
}

fn extreme_frame() -> Frame {
    Frame { product: format!("{NASTY} Enterprise Resource Planning Suite"), sandbox: false, ..frame(true) }
}

fn long_email() -> String {
    format!("{}@{}.example", "a-very-long-local-part".repeat(3), "subdomain-that-never-ends".repeat(6))
}

fn token() -> String {
    let block = "eyJpc3MiOiJodHRwOi8vbG9jYWxob3N0OjMxMDAiLCJzdWIiOiJjdXN0XzBmNWI2YzFkOWU4YTQ3YjNhMmM0ZDVlNmY3MDgx";
    format!("eyJhbGciOiJFZERTQSIsInR5cCI6ImxpY2Vuc2Urand0In0.{}.{}", block.repeat(8), &block[..86])
}

fn plan(code: &str, description: &str, monthly: i64, features: &[&str]) -> PlanCard {
    let price = |interval: &str, amount: i64, remark: Option<&str>| PriceTag {
        interval: interval.into(),
        amount: words::money(amount, "eur"),
        remark: remark.map(str::to_owned),
    };
    PlanCard {
        code: code.into(),
        name: words::humanize(code),
        description: description.into(),
        features: features.iter().map(|feature| words::humanize(feature)).collect(),
        limits: vec![Limit { name: "Seats".into(), value: words::grouped(monthly.unsigned_abs() / 400) }],
        prices: vec![price("month", monthly, None), price("year", monthly * 10, Some("two months free"))],
        trial_days: None,
        recommended: code == "professional",
        current: false,
    }
}

pub(super) fn plans() -> Vec<PlanCard> {
    let mut trial = plan("trial", "Everything you need to decide.", 0, &["core"]);
    trial.prices.clear();
    trial.trial_days = Some(14);
    vec![
        trial,
        plan("starter", "For one person and one project.", 1900, &["core", "exports"]),
        plan("professional", "For teams that ship.", 4900, &["core", "exports", "api_access", "priority_support"]),
        plan(
            "enterprise",
            "For companies with rules of their own.",
            19_900,
            &["core", "api_access", "sso", "audit_log"],
        ),
    ]
}

fn extreme_plans() -> Vec<PlanCard> {
    let features: Vec<String> = (1..=40).map(|n| format!("feature_number_{n}_with_a_long_name")).collect();
    let features: Vec<&str> = features.iter().map(String::as_str).collect();
    let mut big = plan("galactic", NASTY, 12_345_678_900, &features);
    big.name = format!("{NASTY} and a name without an end");
    let mut contact = plan("contact", "", 0, &[]);
    contact.prices.clear();
    let mut current = plan("professional", "", 4900, &["core"]);
    current.current = true;
    vec![big, contact, current]
}

fn home() -> HomeView {
    HomeView {
        frame: frame(false),
        tagline: "Books that balance themselves: invoices, payments and taxes in one quiet place.".into(),
        trial_days: 14,
        verify_first: false,
        trial_features: ["Core", "Exports", "API access", "Audit log", "SSO", "Priority support"]
            .map(str::to_owned)
            .into(),
        plans: plans(),
    }
}

pub(super) fn account() -> AccountView {
    AccountView {
        frame: frame(true),
        email: "test@example.com".into(),
        company_name: Some("Test Corp".into()),
        customer_id: CUSTOMER.into(),
        customer_since: "17 November 2026".into(),
        plan_name: "Trial".into(),
        state_word: "9 days left".into(),
        state_sentence: "Your trial runs until 1 December 2026, 9 days left.".into(),
        tone: Tone::Calm,
        punches: words::punches(5, 14),
        unverified: false,
        notices: Vec::new(),
        main_action: MainAction::Upgrade,
        license: Some(LicenseStub { version: 1, plan_name: "Trial".into(), works_until: "4 December 2026".into() }),
        plans: plans(),
        can_manage_billing: false,
        running: None,
    }
}

pub(super) fn active_account() -> AccountView {
    AccountView {
        plan_name: "Professional".into(),
        state_word: "Active".into(),
        state_sentence: "Paid until 17 December 2026. It renews by itself.".into(),
        tone: Tone::Good,
        punches: Vec::new(),
        main_action: MainAction::OpenLicense,
        license: Some(LicenseStub {
            version: 2,
            plan_name: "Professional".into(),
            works_until: "31 December 2026".into(),
        }),
        plans: plans().into_iter().map(|card| PlanCard { current: card.code == "professional", ..card }).collect(),
        can_manage_billing: true,
        running: Some(Running {
            interval: Some("month".into()),
            can_change: true,
            change_planned: false,
            can_cancel: true,
            can_resume: false,
        }),
        ..account()
    }
}

fn past_due_account() -> AccountView {
    AccountView {
        state_word: "Past due".into(),
        state_sentence: "Your plan was paid until 17 December 2026. The renewal has not been paid yet.".into(),
        tone: Tone::Alarm,
        notices: vec![Notice {
            tone: Tone::Alarm,
            title: "Your last payment did not go through".into(),
            text:
                "Your licence works until 31 December 2026. Update your payment details before then, and nothing stops."
                    .into(),
        }],
        main_action: MainAction::FixPayment,
        ..active_account()
    }
}

fn extreme_account() -> AccountView {
    AccountView {
        frame: extreme_frame(),
        email: long_email(),
        company_name: Some(format!("{NASTY} {}", "Donaudampfschifffahrtsgesellschaft".repeat(4))),
        plan_name: format!("{NASTY} and a name without an end"),
        state_word: "Trial ended".into(),
        state_sentence: "Your trial ends today.".into(),
        tone: Tone::Warn,
        punches: words::punches(31, 31),
        notices: vec![
            Notice { tone: Tone::Warn, title: "Your trial ends today".into(), text: NASTY.into() },
            Notice { tone: Tone::Good, title: "All is well".into(), text: "Really.".into() },
            Notice {
                tone: Tone::Calm,
                title: "For your information".into(),
                text: "This plan ends on 1 May 2027.".into(),
            },
        ],
        license: None,
        plans: extreme_plans(),
        ..account()
    }
}

fn license_card() -> LicenseCard {
    LicenseCard {
        token: token(),
        license_id: "lic_7c1e5f0a9b8d4e63a1f2c3d4e5f60718".into(),
        version: 2,
        plan: "professional".into(),
        plan_name: "Professional".into(),
        state_word: "Valid".into(),
        tone: Tone::Good,
        holder: "Test Corp".into(),
        customer_id: CUSTOMER.into(),
        features: ["core", "exports", "api_access", "priority_support"].map(str::to_owned).into(),
        limits: vec![
            Limit { name: "seats".into(), value: "10".into() },
            Limit { name: "projects".into(), value: "100".into() },
        ],
        issued_on: "17 November 2026".into(),
        paid_until: "17 December 2026".into(),
        is_trial: false,
        works_until: "31 December 2026".into(),
        refresh_after: "10 December 2026".into(),
    }
}

pub(super) fn signup_with_errors() -> SignupView {
    SignupView {
        email: format!("{}<script>", long_email()),
        company_name: NASTY.into(),
        email_error: Some("This is not an e-mail address. Example: ada@example.com".into()),
        password_error: Some("This password is too short. Use at least 8 characters.".into()),
        company_name_error: Some("The company name may have at most 200 characters.".into()),
        problem: Some(FormProblem { code: "invalid_input".into(), text: "Three entries need another look.".into() }),
        ..SignupView::empty(frame(false), 14)
    }
}

fn login(problem: Option<FormProblem>) -> LoginView {
    LoginView { frame: frame(false), email: "test@example.com".into(), problem, next: Some("/account/license".into()) }
}

pub(super) fn waiting(slow: bool) -> CheckoutWaitingView {
    CheckoutWaitingView {
        frame: frame(true),
        plan_name: "Professional".into(),
        next_url: "/checkout/return?attempt=att_9a8b7c6d5e4f30211203f4e5d6c7b8a9&try=2".into(),
        slow,
    }
}

pub(super) fn failed(outcome: NotPaid) -> CheckoutFailedView {
    CheckoutFailedView { frame: frame(true), outcome, plan_name: "Professional".into() }
}

fn checkout_done() -> CheckoutDoneView {
    CheckoutDoneView { frame: frame(true), license: license_card(), email: "test@example.com".into() }
}

fn confirm() -> ConfirmView {
    ConfirmView {
        frame: frame(true),
        eyebrow: "Enterprise".into(),
        title: "Change to Enterprise?".into(),
        sentence: "Enterprise begins at once. $75.00 is charged now.".into(),
        action: "/account/change",
        fields: vec![("plan", "enterprise".into()), ("interval", NASTY.into())],
        button: "Change now and pay $75.00".into(),
        stub_label: "Due now".into(),
        stub: "$75.00".into(),
        stub_text: "then $199.00 per month".into(),
    }
}

fn delete(is_refused: bool) -> DeleteAccountView {
    let problem = FormProblem { code: "wrong_password".into(), text: NASTY.into() };
    let error = ("current_password".to_owned(), NASTY.to_owned());
    let refused = FormState { problem: Some(problem), error: Some(error) };
    DeleteAccountView {
        frame: frame(true),
        email: if is_refused { NASTY.into() } else { "ada@example.com".into() },
        asks_for_end: is_refused,
        form: if is_refused { refused } else { FormState::default() },
    }
}

pub(super) fn pages() -> Vec<(&'static str, String)> {
    let render = |view: &dyn askama::DynTemplate| view.dyn_render().expect("every view renders");
    let wrong_login =
        FormProblem { code: "invalid_credentials".into(), text: "The e-mail address or the password is wrong.".into() };
    let canceled = AccountView {
        state_word: "Canceled".into(),
        state_sentence: "Your plan ended on 1 November 2026.".into(),
        tone: Tone::Alarm,
        license: None,
        punches: Vec::new(),
        plan_name: "Professional".into(),
        ..account()
    };
    let signed_in_home = HomeView { frame: extreme_frame(), plans: extreme_plans(), tagline: String::new(), ..home() };
    let request_id = "01JD3Z8K5Q7W9X2Y4V6T8R0P1M";
    let mut pages = vec![
        ("home", render(&home())),
        ("home-extreme", render(&signed_in_home)),
        ("signup", render(&SignupView::empty(frame(false), 14))),
        ("signup-errors", render(&signup_with_errors())),
        ("login", render(&login(None))),
        ("login-error", render(&login(Some(wrong_login)))),
        ("account-trial", render(&account())),
        ("account-unverified", render(&AccountView { unverified: true, license: None, ..account() })),
        ("account-active", render(&active_account())),
        ("account-past-due", render(&past_due_account())),
        ("account-canceled", render(&canceled)),
        ("account-extreme", render(&extreme_account())),
        ("confirm", render(&confirm())),
        ("delete", render(&delete(false))),
        ("delete-refused", render(&delete(true))),
        ("checkout-waiting", render(&waiting(false))),
        ("checkout-waiting-slow", render(&waiting(true))),
        ("checkout-done", render(&checkout_done())),
        ("checkout-canceled", render(&failed(NotPaid::Canceled))),
        ("checkout-expired", render(&failed(NotPaid::Expired))),
        ("checkout-failed", render(&failed(NotPaid::Failed))),
        ("problem-403", render(&ProblemView::forbidden(frame(true), request_id))),
        ("problem-404", render(&ProblemView::not_found(frame(false), request_id))),
        ("problem-429", render(&ProblemView::too_many_requests(frame(false), 30, request_id))),
        ("problem-500", render(&ProblemView::internal(extreme_frame(), request_id))),
        ("problem-503", render(&ProblemView::unavailable(frame(true), request_id))),
        ("mailbox", render(&MailboxView { frame: frame(false), mails: mails() })),
        ("mailbox-empty", render(&MailboxView { frame: frame(false), mails: Vec::new() })),
        ("mail", render(&mail(&license_mail_body()))),
        ("mail-nasty", render(&mail(NASTY))),
    ];
    pages.extend(entry::pages());
    pages.extend(license::pages());
    pages
}
