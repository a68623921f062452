//! What an invoice would be if a subscription were changed now. Nothing is stored.

use serde_json::{Value, json};

use super::{invoices, subscription_update as update};
use crate::api::{Call, Route};
use crate::billing::invoices::Draft;
use crate::billing::prorations;
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[Route::post(
    "/v1/invoices/create_preview",
    "customer subscription! subscription_details.items.#.id subscription_details.items.#.price \
     subscription_details.items.#.quantity subscription_details.items.#.deleted subscription_details.proration_behavior \
     subscription_details.proration_date",
    create_preview,
)];

fn create_preview(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let id = params.required("subscription")?;
    let subscription = cx.reference(Kind::Subscription, id, "subscription")?;
    let given = params.list("subscription_details.items");
    if given.is_empty() {
        return Err(ApiError::missing("subscription_details.items"));
    }
    let items = update::items_after(cx, &subscription, &given)?;
    let proration = update::proration(params, "subscription_details.proration_behavior")?;
    let at = update::proration_date(params, "subscription_details.proration_date", &subscription, cx.now)?;
    let lines = prorations::preview(cx, &subscription, &items, proration, at);
    let customer = json::text(&subscription, "customer");
    let draft = Draft {
        customer,
        subscription: Some(id),
        reason: "upcoming",
        currency: json::text(&subscription, "currency"),
        lines,
        period: (cx.now, cx.now),
        finalizes_at: None,
        metadata: json!({}),
        description: None,
        default_payment_method: None,
    };
    let preview_id = cx.ids.long("upcoming_in_");
    let mut invoice = invoices::render(cx, &preview_id, &draft);
    let starting = json::int(&cx.object(Kind::Customer, customer), "balance");
    let total = json::int(&invoice, "total");
    let due = (total + starting).max(0);
    json::set(&mut invoice, "starting_balance", starting);
    json::set(&mut invoice, "ending_balance", (total + starting).min(0));
    json::set(&mut invoice, "amount_due", due);
    json::set(&mut invoice, "amount_remaining", due);
    Ok(json::public(&invoice))
}
