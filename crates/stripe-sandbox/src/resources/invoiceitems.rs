//! Invoice items: amounts that wait for a customer's next invoice, prorations among them.

use serde_json::{Value, json};

use super::metadata;
use crate::api::{Call, Route, page};
use crate::billing::lines;
use crate::context::Context;
use crate::error::ApiError;
use crate::json;
use crate::store::Kind;

pub(crate) const ROUTES: &[Route] = &[
    Route::post(
        "/v1/invoiceitems",
        "customer! amount currency description discountable invoice metadata metadata.* period.start period.end \
         pricing.price quantity subscription unit_amount_decimal tax_behavior",
        create,
    ),
    Route::list("/v1/invoiceitems", "customer invoice pending", list),
    Route::get("/v1/invoiceitems/{id}", "", retrieve),
    Route::delete("/v1/invoiceitems/{id}", "", delete),
];

struct Item<'a> {
    customer: &'a str,
    subscription: Option<(&'a str, Option<&'a str>)>,
    currency: &'a str,
    unit_amount: i64,
    quantity: i64,
    description: Option<&'a str>,
    period: (i64, i64),
    price: Option<(&'a str, &'a str)>,
    proration: bool,
    metadata: Value,
}

fn render(cx: &Context, id: &str, item: &Item) -> Value {
    let amount = item.unit_amount * item.quantity;
    let parent = item.subscription.map(|(subscription, subscription_item)| {
        let mut details = json!({ "subscription": subscription });
        if let Some(subscription_item) = subscription_item {
            json::set(&mut details, "subscription_item", subscription_item);
        }
        json!({ "subscription_details": details, "type": "subscription_details" })
    });
    let mut pricing = json!({ "type": "price_details", "unit_amount_decimal": item.unit_amount.to_string() });
    if let Some((price, product)) = item.price {
        json::set(&mut pricing, "price_details", json!({ "price": price, "product": product }));
    }
    json!({
        "id": id,
        "object": "invoiceitem",
        "amount": amount,
        "currency": item.currency,
        "customer": item.customer,
        "customer_account": null,
        "date": cx.now,
        "description": item.description,
        "discountable": !item.proration,
        "discounts": [],
        "invoice": null,
        "livemode": false,
        "metadata": item.metadata,
        "net_amount": amount,
        "parent": parent,
        "period": { "start": item.period.0, "end": item.period.1 },
        "pricing": pricing,
        "proration": item.proration,
        "quantity": item.quantity,
        "quantity_decimal": item.quantity.to_string(),
        "tax_rates": [],
        "test_clock": null,
    })
}

fn create(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let params = &call.params;
    let customer = params.required("customer")?;
    cx.reference(Kind::Customer, customer, "customer")?;
    let price = match params.filled("pricing.price") {
        Some(id) => Some(cx.reference(Kind::Price, id, "pricing[price]")?),
        None => None,
    };
    let quantity = params.int("quantity")?.unwrap_or(1);
    let unit_amount = match (&price, params.int("amount")?, params.int("unit_amount_decimal")?) {
        (Some(price), _, _) => json::int(price, "unit_amount"),
        (None, Some(amount), _) => amount,
        (None, None, Some(unit)) => unit,
        (None, None, None) => return Err(ApiError::missing("amount")),
    };
    let subscription = params.filled("subscription");
    if let Some(subscription) = subscription {
        cx.reference(Kind::Subscription, subscription, "subscription")?;
    }
    let currency = price.as_ref().map(|price| json::text(price, "currency")).or(params.filled("currency"));
    let item = Item {
        customer,
        subscription: subscription.map(|subscription| (subscription, None)),
        currency: &currency.ok_or_else(|| ApiError::missing("currency"))?.to_lowercase(),
        unit_amount,
        quantity,
        description: params.filled("description"),
        period: (params.int("period.start")?.unwrap_or(cx.now), params.int("period.end")?.unwrap_or(cx.now)),
        price: price.as_ref().map(|price| (json::text(price, "id"), json::text(price, "product"))),
        proration: false,
        metadata: metadata::new(params, "metadata")?,
    };
    let id = cx.ids.long("ii_");
    let value = render(cx, &id, &item);
    cx.create(Kind::InvoiceItem, &id, value);
    cx.emit("invoiceitem.created", Kind::InvoiceItem, &id);
    Ok(json::public(&cx.object(Kind::InvoiceItem, &id)))
}

/// A credit or a charge for a part of a period of `subscription_item`.
pub(crate) fn create_proration(
    cx: &mut Context,
    subscription: &Value,
    subscription_item: &Value,
    amount: i64,
    description: &str,
    period: (i64, i64),
) -> String {
    let id = cx.ids.long("ii_");
    let value = render(cx, &id, &proration(subscription, subscription_item, amount, description, period));
    cx.create(Kind::InvoiceItem, &id, value);
    cx.emit("invoiceitem.created", Kind::InvoiceItem, &id);
    id
}

/// The line that such an amount would become; nothing is stored.
pub(crate) fn proration_line(
    cx: &Context,
    subscription: &Value,
    subscription_item: &Value,
    amount: i64,
    description: &str,
    period: (i64, i64),
) -> Value {
    let id = cx.ids.long("ii_");
    let item = render(cx, &id, &proration(subscription, subscription_item, amount, description, period));
    lines::of_invoice_item(cx, &item)
}

fn proration<'a>(
    subscription: &'a Value,
    subscription_item: &'a Value,
    amount: i64,
    description: &'a str,
    period: (i64, i64),
) -> Item<'a> {
    Item {
        customer: json::text(subscription, "customer"),
        subscription: Some((json::text(subscription, "id"), json::opt_text(subscription_item, "id"))),
        currency: json::text(subscription_item, "price.currency"),
        unit_amount: amount,
        quantity: 1,
        description: Some(description),
        period,
        price: Some((json::text(subscription_item, "price.id"), json::text(subscription_item, "price.product"))),
        proration: true,
        metadata: json!({}),
    }
}

/// The lines of what waits for the next invoice, and the ids of the items that they come from.
pub(crate) fn pending(cx: &Context, customer: &str, subscription: Option<&str>) -> (Vec<Value>, Vec<String>) {
    let waiting = cx.store.oldest_first(Kind::InvoiceItem).filter(|(_, item)| {
        let owner = json::opt_text(item, "parent.subscription_details.subscription");
        item["invoice"].is_null()
            && json::text(item, "customer") == customer
            && (owner.is_none() || subscription.is_none() || owner == subscription)
    });
    waiting.map(|(id, item)| (lines::of_invoice_item(cx, item), id.to_owned())).unzip()
}

pub(crate) fn take(cx: &mut Context, items: &[String], invoice: &str) {
    for item in items {
        cx.edit(Kind::InvoiceItem, item, |value| json::set(value, "invoice", invoice));
    }
}

fn list(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let pending = call.params.flag("pending")?;
    page(cx, call, Kind::InvoiceItem, |value| {
        pending.is_none_or(|pending| value["invoice"].is_null() == pending)
            && ["customer", "invoice"]
                .iter()
                .all(|field| call.params.filled(field).is_none_or(|want| json::text(value, field) == want))
    })
}

fn retrieve(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    Ok(json::public(&cx.find(Kind::InvoiceItem, call.id())?))
}

fn delete(cx: &mut Context, call: &Call) -> Result<Value, ApiError> {
    let value = cx.find(Kind::InvoiceItem, call.id())?;
    if !value["invoice"].is_null() {
        return Err(ApiError::invalid("You can only delete pending invoice items."));
    }
    cx.store.remove(Kind::InvoiceItem, call.id());
    Ok(json!({ "id": call.id(), "object": "invoiceitem", "deleted": true }))
}
