//! Renders every page into `target/page-previews`, for people and browsers to look at, and checks what must hold for each of
//! them: no inline code, one heading, everything escaped, no provider's id.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use askama::Template;

use super::samples::{account, active_account, failed, pages, plans, signup_with_errors, waiting, with_history};
use super::{AccountView, FormState, NotPaid, PlanCard, PriceTag, Running, Tone};

/// Whether the text holds `cus_` and the like, followed by at least eight letters or digits.
fn has_provider_id(text: &str) -> bool {
    ["cus_", "sub_", "cs_", "in_", "pi_", "price_", "evt_"].iter().any(|prefix| {
        text.match_indices(prefix).any(|(at, _)| {
            text[at + prefix.len()..].chars().take_while(char::is_ascii_alphanumeric).take(8).count() == 8
        })
    })
}

fn previews_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/page-previews")
}

#[test]
fn every_page_keeps_the_rules_of_the_house() {
    for (name, html) in pages() {
        assert!(!html.contains("style="), "{name}: inline style");
        assert!(!html.contains("<style"), "{name}: inline style");
        assert_eq!(html.matches("<script").count(), 1, "{name}: only enhance.js, and nothing unescaped");
        assert!(html.contains("enhance.js\" defer></script>"), "{name}: the script is a file");
        assert!(!html.contains("javascript:") && !html.contains(" onclick"), "{name}: inline script");
        assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{name}: language");
        assert_eq!(html.matches("<h1").count(), 1, "{name}: one h1");
        assert_eq!(html.matches("<main").count(), 1, "{name}: one main");
        assert_eq!(html.matches("<title>").count(), 1, "{name}: one title");
        assert!(!html.contains("<title></title>"), "{name}: a title");
        assert!(!has_provider_id(&html), "{name}: a provider's id");
        assert_unique_ids(name, &html);
    }
}

fn assert_unique_ids(name: &str, html: &str) {
    let mut ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{name}: an id stands twice in {ids:?}");
}

#[test]
fn a_password_is_never_sent_back() {
    let html = signup_with_errors().render().expect("renders");
    let field = html.split("<input id=\"password\"").nth(1).and_then(|rest| rest.split('>').next()).expect("the field");
    assert!(!field.contains("value="), "{field}");
    assert!(html.contains("aria-describedby=\"password-hint password-error\""));
    assert!(
        html.contains("value=\"&#60;script&#62;") || html.contains("&#60;script&#62;\""),
        "typed text is kept, escaped"
    );
}

#[test]
fn waiting_never_claims_success_and_stops_looking_after_some_tries() {
    let early = waiting(false).render().expect("renders");
    assert!(early.contains("http-equiv=\"refresh\" content=\"2; url=/checkout/return?attempt="));
    let slow = waiting(true).render().expect("renders");
    assert!(!slow.contains("http-equiv") && !slow.contains("data-next") && slow.contains("id=\"check-again\""));
    for html in [early, slow] {
        assert!(html.contains("id=\"payment-waiting\"") && !html.contains("payment-done"));
        assert!(!html.contains("Thank you") && !html.contains("license-token"));
    }
}

#[test]
fn the_chooser_has_one_button_per_price() {
    let html = account().render().expect("renders");
    for code in ["starter", "professional", "enterprise"] {
        for interval in ["month", "year"] {
            assert_eq!(html.matches(&format!("id=\"buy-{code}-{interval}\"")).count(), 1);
        }
    }
    assert!(!html.contains("buy-trial"), "a trial is not for sale");
    assert!(!active_account().render().expect("renders").contains("id=\"upgrade\""));
}

#[test]
fn previews_are_written_for_people_to_look_at() {
    let folder = previews_folder();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    std::fs::create_dir_all(folder.join("assets")).expect("the target folder is ours");
    for file in ["style.css", "enhance.js", "favicon.svg"] {
        std::fs::copy(assets.join(file), folder.join("assets").join(file)).expect("every asset exists");
    }
    for (name, html) in pages() {
        std::fs::write(folder.join(format!("{name}.html")), html).expect("the target folder is ours");
    }
}

#[test]
fn the_style_sheet_fetches_nothing() {
    let css = include_str!("../../../assets/style.css");
    assert!(!css.contains("url(") && !css.contains("@import"), "everything is drawn by the file itself");
}

#[test]
fn every_tone_has_a_class_of_its_own_in_the_style_sheet() {
    let css = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/style.css"));
    let classes = [Tone::Good, Tone::Calm, Tone::Warn, Tone::Alarm].map(Tone::class);
    for class in classes {
        assert!(class.starts_with("tone-") && css.contains(&format!(".{class}")), "{class}");
    }
    assert_eq!(BTreeSet::from(classes).len(), classes.len());
}

#[test]
fn a_price_says_how_often_it_is_paid() {
    let adverb = |interval: &str| PriceTag { interval: interval.into(), amount: String::new(), remark: None }.adverb();
    assert_eq!(["month", "year", "week"].map(adverb), ["monthly", "yearly", "per week"]);
}

#[test]
fn the_plan_that_runs_is_offered_again_only_to_take_a_planned_change_back() {
    let offered = |change_planned| {
        let running = Running {
            interval: Some("month".into()),
            can_change: true,
            change_planned,
            can_cancel: true,
            can_resume: false,
        };
        let plans = plans().into_iter().filter(|plan| !plan.prices.is_empty()).take(2);
        let plans = plans.map(|plan| PlanCard { current: plan.code == "starter", ..plan }).collect();
        let view = AccountView { plans, running: Some(running), ..active_account() };
        let html = view.render().expect("renders");
        let buttons = html.split("<button class=\"button wide buy\" id=\"change-").skip(1);
        buttons
            .map(|text| (text.split('"').next().unwrap().to_owned(), text.contains("Stay with it")))
            .collect::<Vec<_>>()
    };
    let change = |id: &str| (id.to_owned(), false);
    let others = ["starter-year", "professional-month", "professional-year"].map(change);
    assert_eq!(offered(false), others);
    assert_eq!(offered(true), [&[("starter-month".to_owned(), true)], &others[..]].concat());
}

#[test]
fn a_checkout_without_payment_says_how_it_ended() {
    for (outcome, title, sentence, stamp) in [
        (NotPaid::Canceled, "You left before paying", "Nothing was charged", "Not paid"),
        (NotPaid::Expired, "This payment page has closed", "It was open for too long", "Expired"),
        (NotPaid::Failed, "The payment did not go through", "Your bank or card refused the payment", "Declined"),
    ] {
        let html = failed(outcome).render().expect("renders");
        assert!(html.contains(&format!("<h1>{title}</h1>")) && html.contains(sentence), "{html}");
        assert!(html.contains(&format!("\">{stamp}</p>")), "{html}");
    }
}

#[test]
fn the_newest_versions_are_in_sight_and_the_older_ones_folded_away() {
    let shown = |versions| {
        let html = with_history(versions).render().expect("renders");
        let history = html.split("id=\"history-title\"").nth(1).expect("a history").to_owned();
        let (recent, older) = history.split_once("<details>").unwrap_or((&history, ""));
        let summary = older.split("</summary>").next().unwrap_or_default().trim().replace("<summary>", "");
        (recent.matches("class=\"serial\"").count(), older.matches("class=\"serial\"").count(), summary)
    };
    assert_eq!(shown(2), (2, 0, String::new()));
    assert_eq!(shown(5), (5, 0, String::new()));
    assert_eq!(shown(6), (5, 1, "1 older version".to_owned()));
    assert_eq!(shown(40), (5, 35, "35 older versions".to_owned()));
}

#[test]
fn an_error_is_told_beside_its_own_field_alone() {
    let error = Some(("new_password".to_owned(), "Use at least 8 characters.".to_owned()));
    let form = FormState { problem: None, error };
    assert_eq!(form.error("new_password"), Some("Use at least 8 characters."));
    assert_eq!((form.error("current_password"), FormState::default().error("new_password")), (None, None));
}

#[test]
fn who_is_logged_in_reaches_the_settings_from_everywhere_and_anybody_the_page_for_verifying() {
    for (name, html) in pages() {
        let nav = html.split("<nav").nth(1).and_then(|rest| rest.split("</nav>").next()).expect("a navigation");
        assert_eq!(nav.contains("href=\"/account/settings\""), nav.contains("id=\"logout\""), "{name}");
        let footer = html.split("<footer").nth(1).expect("a footer");
        assert!(footer.contains("href=\"/verify\""), "{name}");
        let is_here = name.starts_with("settings") || name.starts_with("delete");
        assert_eq!(nav.contains("href=\"/account/settings\" aria-current=\"page\""), is_here, "{name}");
    }
}
