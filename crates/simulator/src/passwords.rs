//! What users do about their passwords.

use counterfoil_core::probe;
use serde_json::json;

use crate::history::Answer;
use crate::users::User;

impl User {
    fn new_password(&mut self) -> String {
        format!("canary password {} of user {}", self.dice.draw() % 1_000, self.number)
    }

    pub(crate) fn password(&mut self) -> String {
        let which = self.dice.index(self.passwords.len());
        self.passwords[which].clone()
    }

    pub(crate) async fn change_password(&mut self) {
        let (current, new) = (self.password(), self.new_password());
        let body = json!({ "current_password": current, "new_password": new });
        // Somebody who knows the old password, and is just logging in with it.
        let other = self.dice.percent(40).then(|| json!({ "email": self.email, "password": current }));
        self.in_doubt = false;
        let (told, opened) = match other {
            None => (self.post("/api/customers/password", &body).await, None),
            Some(login) => tokio::join!(
                self.send("POST", "/api/customers/password", Some(&body)),
                self.send("POST", "/api/customers/login", Some(&login)),
            ),
        };
        let is_changed = told.as_ref().is_some_and(Answer::is_good);
        let opened = opened.filter(|answer| answer.is_good() && is_changed);
        match told {
            Some(answer) if answer.is_good() => {
                self.passwords = vec![new];
                // The change has ended every session but perhaps this one.
                self.token = answer.json()["token"].as_str().map(str::to_owned).or(self.token.take());
            }
            Some(answer) if answer.status < 500 && !self.in_doubt => {}
            _ => self.passwords.push(new),
        }
        if let Some(opened) = opened {
            self.try_old_session(opened.json()["token"].as_str().unwrap_or_default()).await;
        }
    }

    /// No session that the old password opened is left once it has changed.
    async fn try_old_session(&mut self, token: &str) {
        let own = self.token.replace(token.to_owned());
        let answer = self.get("/api/customers/me").await;
        self.token = own;
        self.world.count("log-ins beside a change of the password");
        probe!("F83", answer.is_some());
        if answer.is_some_and(|answer| answer.is_good()) {
            let what = format!("a session of user {}'s old password has outlived its change", self.number);
            self.world.history().breaches.push(what);
        }
    }

    /// Uses the link of the newest mail about a forgotten password, with two clicks, as impatient people and mail scanners do.
    pub(crate) async fn reset_password(&mut self) {
        let link = {
            let history = self.world.history();
            let mine = history.mails.iter().rev().filter(|mail| mail.recipient == self.email);
            mine.filter_map(|mail| mail.body_text.split("/reset?token=").nth(1)).next().map(str::to_owned)
        };
        let Some(token) = link.and_then(|rest| rest.split_whitespace().next().map(str::to_owned)) else {
            return drop(self.post("/api/customers/password/forgot", &json!({ "email": self.email })).await);
        };
        let new = self.new_password();
        let body = json!({ "token": token, "new_password": new });
        let path = "/api/customers/password/reset";
        let (first, second) = tokio::join!(self.send("POST", path, Some(&body)), self.send("POST", path, Some(&body)));
        let answers = [first, second];
        if answers.iter().flatten().any(Answer::is_good) {
            self.used_link = Some(token);
            self.passwords = vec![new];
            self.token = None;
        } else if answers.iter().any(|answer| answer.as_ref().is_none_or(|answer| answer.status >= 500)) {
            self.passwords.push(new);
        }
    }
}
