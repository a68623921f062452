//! Carrying the plan out, one call after the other.
//!
//! The key of a call is made from what the call says: said again after a crash, it is answered with what was done then. But
//! Stripe remembers for a day, and what it remembers may be changed or gone by now. So what is answered from memory is read
//! again, and where it is not what is wanted, the call goes out under the key of its next generation.

use counterfoil_core::{IdempotencyKey, PlanCode};
use secrecy::SecretString;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::plan::{endpoint_differences, has_our_version, price_differences, product_differences};
use super::{Done, SetupError, Step, Subject, Verdict, Wanted, lookup_key, portal};
use crate::providers::ProviderError;
use crate::providers::stripe::client::{Client, Success};
use crate::providers::stripe::error::unreadable;
use crate::providers::stripe::facts::resource;
use crate::providers::stripe::form::Form;
use crate::providers::stripe::json;

/// How often the same thing may be made, taken away and made again within a day.
const GENERATIONS_MAX: u32 = 20;

pub(super) async fn carry_out(client: &Client, wanted: &Wanted<'_>, steps: &[Step]) -> Result<Done, SetupError> {
    let mut done = Done::default();
    for step in steps {
        let (draft, path) = match &step.verdict {
            Verdict::Keep | Verdict::Report => {
                // The first step about a subject is the one that counts; the others report.
                if let (Some(id), false) = (&step.id, done.ids.contains_key(&step.subject)) {
                    done.ids.insert(step.subject.clone(), id.clone());
                }
                continue;
            }
            Verdict::Create(draft) => (draft, Ok(step.subject.path().to_owned())),
            Verdict::Update(draft) => (draft, resource(step.subject.path(), step.id.as_deref().unwrap_or_default())),
        };
        let fail = |source| {
            SetupError::of(format!("{} {}", step.action(), step.subject), step.subject.permission(), "Write", source)
        };
        let path = path.map_err(fail)?;
        // A price names its product, which an earlier step found or made.
        let fields = portal::resolve(&step.subject, draft, &done.ids)
            .ok_or_else(|| fail(unreadable("an earlier step left no id", None)))?;
        let call = Call { client, wanted, subject: &step.subject, path: &path, fields: &fields };
        let made = call.send().await.map_err(fail)?;
        let made = made.ok_or_else(|| SetupError::OnlyMemories { what: format!("{}", step.subject) })?;
        let id = json::text(&made, &["id"]).map(str::to_owned);
        let id = id.ok_or_else(|| fail(unreadable("what was made has no id", None)))?;
        if let Some(secret) = json::text(&made, &["secret"]) {
            done.webhook_secret = Some(SecretString::from(secret));
        }
        done.ids.insert(step.subject.clone(), id);
    }
    Ok(done)
}

struct Call<'a> {
    client: &'a Client,
    wanted: &'a Wanted<'a>,
    subject: &'a Subject,
    path: &'a str,
    fields: &'a [(String, String)],
}

impl Call<'_> {
    /// What the call made or changed, as it is now; `None` where every generation was used up.
    async fn send(&self) -> Result<Option<Value>, ProviderError> {
        let form = self.fields.iter().fold(Form::new(), |form, (name, value)| form.field(name, value));
        let digest = hex::encode(&Sha256::digest(format!("{}\n{}", self.path, form.as_str()))[..16]);
        for generation in 1..=GENERATIONS_MAX {
            let key = IdempotencyKey::setup(self.wanted.instance, &digest, generation);
            match self.client.post(self.path, &key, form.as_str()).await {
                Ok(answer) if !answer.replayed => return Ok(Some(answer.body)),
                Ok(answer) if self.still_holds(&answer).await? => return Ok(Some(answer.body)),
                Ok(_) | Err(ProviderError::KeyPoisoned { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether what was answered from memory is still so.
    async fn still_holds(&self, answer: &Success) -> Result<bool, ProviderError> {
        let Some(id) = json::text(&answer.body, &["id"]) else { return Ok(false) };
        match self.client.get(&resource(self.subject.path(), id)?, &Form::new()).await {
            Ok(found) => Ok(self.holds(&found.body)),
            Err(ProviderError::Missing { .. } | ProviderError::PriceMissing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        if json::flag(value, &["deleted"]) {
            return false;
        }
        let plan_of = |code: &PlanCode| self.wanted.plans.iter().find(|plan| plan.code == *code);
        match self.subject {
            Subject::Product { plan } => {
                plan_of(plan).is_some_and(|plan| product_differences(plan, value).0.is_empty())
            }
            Subject::Price { plan, interval, currency } => {
                let found = plan_of(plan).and_then(|plan| {
                    plan.prices.iter().find(|price| price.interval == *interval && price.currency == *currency)
                });
                found.is_some_and(|price| {
                    let key = lookup_key(plan, price);
                    let has_key = json::text(value, &["lookup_key"]) == Some(&key);
                    let made_by_us = self.fields.iter().any(|(name, _)| name == "lookup_key");
                    price_differences(price, value).is_empty()
                        && json::flag(value, &["active"])
                        && (has_key || !made_by_us)
                })
            }
            Subject::Portal => portal::holds(self.fields, value) && json::flag(value, &["active"]),
            Subject::Endpoint => {
                json::long_text(value, &["url"]) == self.wanted.webhook_url.as_deref()
                    && has_our_version(value)
                    && endpoint_differences(self.wanted, value).0.is_empty()
            }
        }
    }
}
