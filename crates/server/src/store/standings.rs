//! Where customers stand: what a look has to know of each before it decides, in one statement for all of them.

use std::collections::BTreeMap;

use counterfoil_core::listing::Listed;
use counterfoil_core::{CustomerId, PlanCode, Subscription, Timestamp};

use super::batch::{Batch, nothing};
use super::licenses::License;
use super::subscriptions;
use crate::db::{DbError, Row, Tx};

/// The newest version of a licence, as far as it is compared with what is due now.
#[derive(Clone, Debug)]
pub struct Newest {
    pub version: i64,
    pub plan: PlanCode,
    pub status: String,
    pub trial: bool,
    pub paid_until: Timestamp,
    /// See [`counterfoil_core::license::facts_digest`].
    pub facts_digest: String,
    /// What the status lists say of it.
    pub listed: Option<Listed>,
}

impl Newest {
    /// The same of a whole version.
    #[must_use]
    pub fn of(license: &License, listed: Option<Listed>) -> Self {
        Self {
            version: license.version,
            plan: license.plan.clone(),
            status: license.status.clone(),
            trial: license.trial,
            paid_until: license.paid_until,
            facts_digest: license.facts_digest.clone(),
            listed,
        }
    }
}

/// Where one customer stands.
#[derive(Clone, Debug)]
pub struct Standing {
    pub subscription: Subscription,
    pub newest: Option<Newest>,
    /// An operator holds every licence back.
    pub is_held: bool,
    /// The address was never shown to be the customer's.
    pub is_unverified: bool,
    /// A change of the plan is planned.
    pub has_plans: bool,
    /// Versions are suspended in the status lists.
    pub has_suspended: bool,
}

fn newest(row: &Row) -> Result<Option<Newest>, DbError> {
    let Some(version) = row.get::<Option<i64>>("version")? else { return Ok(None) };
    let listed: Option<String> = row.get("listed")?;
    Ok(Some(Newest {
        version,
        plan: PlanCode::new(row.get::<String>("license_plan")?),
        status: row.get("license_status")?,
        trial: row.get("trial")?,
        paid_until: row.get("license_paid_until")?,
        facts_digest: row.get("facts_digest")?,
        listed: match listed {
            Some(word) => Some(Listed::parse(&word).ok_or_else(|| DbError::other("`listed` holds an unknown word"))?),
            None => None,
        },
    }))
}

static LIST: Batch = Batch::about(
    "select s.customer_id, s.stripe_subscription_id, s.plan, s.status, s.billing_interval, s.trial_ends_at, \
     s.current_period_ends_at, s.paid_until, s.money_back, s.cancel_at, s.ended_at, s.needs_attention, \
     c.email_verified_at, h.customer_id as held, p.customer_id as planned, \
     (select min(x.listed) from license_statuses x where x.customer_id = s.customer_id and x.listed = 'suspended') \
     as suspended, l.version, l.plan as license_plan, l.status as license_status, l.trial, \
     l.paid_until as license_paid_until, l.facts_digest, e.listed \
     from subscriptions s join customers c on c.customer_id = s.customer_id \
     left join license_holds h on h.customer_id = s.customer_id \
     left join planned_changes p on p.customer_id = s.customer_id \
     left join licenses l on l.customer_id = s.customer_id \
     and l.version = (select max(m.version) from licenses m where m.customer_id = s.customer_id) \
     left join license_statuses e on e.license_id = l.license_id where s.customer_id in ({@1})",
);

/// Where these customers stand; each has a subscription from sign-up on.
pub async fn list(tx: &mut Tx, customers: &[&CustomerId]) -> Result<BTreeMap<CustomerId, Standing>, DbError> {
    let rows = LIST.all(tx, customers, nothing, |query, customer_id| query.bind(*customer_id)).await?;
    rows.iter()
        .map(|row| {
            let standing = Standing {
                subscription: subscriptions::from_row(row)?,
                newest: newest(row)?,
                is_held: row.get::<Option<String>>("held")?.is_some(),
                is_unverified: row.get::<Option<Timestamp>>("email_verified_at")?.is_none(),
                has_plans: row.get::<Option<String>>("planned")?.is_some(),
                has_suspended: row.get::<Option<String>>("suspended")?.is_some(),
            };
            Ok((row.parse("customer_id")?, standing))
        })
        .collect()
}
