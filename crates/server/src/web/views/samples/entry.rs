//! The pages about the account itself: the way back into it, its settings, and what links in mails lead to.

use super::*;

fn forgot(wrong: bool) -> ForgotView {
    ForgotView {
        frame: frame(false),
        email: if wrong { NASTY.into() } else { String::new() },
        email_error: wrong.then(|| "This is not an e-mail address.".into()),
        problem: wrong
            .then(|| FormProblem { code: "invalid_email".into(), text: "One entry needs another look.".into() }),
    }
}

fn reset(wrong: bool) -> ResetView {
    ResetView {
        frame: frame(false),
        password_error: wrong.then(|| "This password is too short.".into()),
        problem: wrong
            .then(|| FormProblem { code: "weak_password".into(), text: "One entry needs another look.".into() }),
    }
}

fn said() -> SaidView {
    SaidView {
        frame: frame(false),
        title: "Look into your mailbox".into(),
        sentence: "If there is an account with this address, a link to a new password is on its way.".into(),
        action: Link { label: "Back to the login".into(), href: "/login".into() },
        stub_label: "Password".into(),
        stamp: "Mail sent".into(),
        tone: Tone::Calm,
    }
}

fn session(device: &str, is_current: bool) -> SessionRow {
    SessionRow {
        session_id: "ses_0123456789abcdef0123456789abcdef".into(),
        device: device.into(),
        network: "203.0.113.x".into(),
        since: "since 17 November 2026".into(),
        used: "used within the last two hours".into(),
        is_current,
    }
}

fn settings() -> SettingsView {
    SettingsView {
        frame: frame(true),
        email: "test@example.com".into(),
        email_state: Some("Your address was confirmed on 17 November 2026.".into()),
        can_resend: false,
        notices: Vec::new(),
        password: FormState::default(),
        email_form: FormState::default(),
        new_email: String::new(),
        sessions: vec![session("Firefox on Linux", true), session("Safari on an iPhone", false)],
    }
}

fn extreme_settings() -> SettingsView {
    let wrong = |field: &str| FormState {
        problem: Some(FormProblem { code: "wrong_password".into(), text: "One entry needs another look.".into() }),
        error: Some((field.into(), NASTY.into())),
    };
    SettingsView {
        frame: extreme_frame(),
        email: long_email(),
        email_state: Some("Your address is not confirmed yet: open the link in the mail that was sent to it.".into()),
        can_resend: true,
        notices: vec![Notice { tone: Tone::Good, title: "Your password is changed".into(), text: NASTY.into() }],
        password: wrong("current_password"),
        email_form: wrong("new_email"),
        new_email: NASTY.into(),
        sessions: (0..30).map(|number| session(NASTY, number == 0)).collect(),
    }
}

fn question() -> QuestionView {
    QuestionView {
        frame: frame(false),
        title: "Use this address from now on?".into(),
        sentence: "You log in with it then, and mails go there.".into(),
        action: "/email/confirm",
        button: "Use this address".into(),
        stub_label: "Good to know".into(),
        stub_text: "Your licence stays as it is.".into(),
    }
}

pub(super) fn pages() -> Vec<(&'static str, String)> {
    let render = |view: &dyn askama::DynTemplate| view.dyn_render().expect("every view renders");
    vec![
        ("forgot", render(&forgot(false))),
        ("forgot-error", render(&forgot(true))),
        ("reset", render(&reset(false))),
        ("reset-error", render(&reset(true))),
        ("question", render(&question())),
        ("said", render(&said())),
        ("settings", render(&settings())),
        ("settings-extreme", render(&extreme_settings())),
    ]
}
