//! Invoice lines.

use serde_json::{Value, json};

use crate::context::Context;
use crate::json;

/// The line of a subscription item for one period. A trial's line costs nothing.
pub(crate) fn of_item(cx: &Context, subscription: &Value, item: &Value, period: (i64, i64), trial: bool) -> Value {
    let quantity = json::int(item, "quantity");
    let unit = json::int(item, "price.unit_amount");
    let amount = if trial { 0 } else { unit * quantity };
    let name = product_name(cx, json::text(item, "price.product"));
    let description = if trial {
        format!("Trial period for {name}")
    } else {
        let interval = json::text(item, "price.recurring.interval");
        format!("{quantity} × {name} (at {} / {interval})", money(unit, json::text(item, "price.currency")))
    };
    json!({
        "id": cx.ids.long("il_"),
        "object": "line_item",
        "amount": amount,
        "currency": json::text(item, "price.currency"),
        "description": description,
        "discount_amounts": [],
        "discountable": true,
        "discounts": [],
        "invoice": null,
        "livemode": false,
        "metadata": json::at(subscription, "metadata").cloned().unwrap_or_else(|| json!({})),
        "parent": {
            "invoice_item_details": null,
            "subscription_item_details": {
                "invoice_item": null,
                "proration": false,
                "proration_details": { "credited_items": null },
                "subscription": json::text(subscription, "id"),
                "subscription_item": json::text(item, "id"),
            },
            "type": "subscription_item_details",
        },
        "period": { "start": period.0, "end": period.1 },
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": { "price": json::text(item, "price.id"), "product": json::text(item, "price.product") },
            "type": "price_details",
            "unit_amount_decimal": (if trial { 0 } else { unit }).to_string(),
        },
        "quantity": quantity,
        "quantity_decimal": quantity.to_string(),
        "subtotal": amount,
        "taxes": [],
    })
}

/// The line of a one-time price in a checkout.
pub(crate) fn of_price(cx: &Context, price: &Value, quantity: i64) -> Value {
    let unit = json::int(price, "unit_amount");
    let item = json!({
        "id": null,
        "amount": unit * quantity,
        "currency": json::text(price, "currency"),
        "description": product_name(cx, json::text(price, "product")),
        "metadata": {},
        "period": { "start": cx.now, "end": cx.now },
        "proration": false,
        "pricing": {
            "price_details": { "price": json::text(price, "id"), "product": json::text(price, "product") },
            "type": "price_details",
            "unit_amount_decimal": unit.to_string(),
        },
        "quantity": quantity,
    });
    let mut line = of_invoice_item(cx, &item);
    json::set(&mut line, "parent", Value::Null);
    line
}

/// The line that a pending invoice item becomes.
pub(crate) fn of_invoice_item(cx: &Context, item: &Value) -> Value {
    let amount = json::int(item, "amount");
    let quantity = json::int(item, "quantity");
    let proration = json::flag(item, "proration");
    let subscription = json::opt_text(item, "parent.subscription_details.subscription");
    let details = json!({
        "invoice_item": item["id"],
        "proration": proration,
        "proration_details": { "credited_items": null },
        "subscription": subscription,
    });
    let parent = match (subscription, json::opt_text(item, "parent.subscription_details.subscription_item")) {
        (Some(_), Some(subscription_item)) => {
            let mut details = details;
            json::set(&mut details, "subscription_item", subscription_item);
            json!({
                "invoice_item_details": null, "subscription_item_details": details, "type": "subscription_item_details",
            })
        }
        _ => json!({
            "invoice_item_details": details, "subscription_item_details": null, "type": "invoice_item_details",
        }),
    };
    json!({
        "id": cx.ids.long("il_"),
        "object": "line_item",
        "amount": amount,
        "currency": item["currency"],
        "description": item["description"],
        "discount_amounts": [],
        "discountable": !proration,
        "discounts": [],
        "invoice": null,
        "livemode": false,
        "metadata": item["metadata"],
        "parent": parent,
        "period": item["period"],
        "pretax_credit_amounts": [],
        "pricing": item["pricing"],
        "quantity": quantity,
        "quantity_decimal": quantity.to_string(),
        "subtotal": amount,
        "taxes": [],
    })
}

pub(crate) fn product_name(cx: &Context, product: &str) -> String {
    json::text(&cx.object(crate::store::Kind::Product, product), "name").to_owned()
}

/// An amount as people read it. Currencies without minor units have whole amounts, but for two that Stripe still counts in hundredths.
pub(crate) fn money(amount: i64, currency: &str) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.unsigned_abs();
    let code = currency.to_uppercase();
    let number = match currency {
        "bif" | "clp" | "djf" | "gnf" | "jpy" | "kmf" | "krw" | "mga" | "pyg" | "rwf" | "vnd" | "vuv" | "xaf"
        | "xof" | "xpf" => amount.to_string(),
        "bhd" | "jod" | "kwd" | "omr" | "tnd" => format!("{}.{:03}", amount / 1000, amount % 1000),
        _ => format!("{}.{:02}", amount / 100, amount % 100),
    };
    match currency {
        "usd" => format!("{sign}${number}"),
        "eur" => format!("{sign}€{number}"),
        "gbp" => format!("{sign}£{number}"),
        _ => format!("{sign}{number} {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::money;

    #[test]
    fn an_amount_has_as_many_decimals_as_its_currency() {
        for (amount, currency, words) in [
            (4_900, "eur", "€49.00"),
            (-5, "usd", "-$0.05"),
            (980, "jpy", "980 JPY"),
            (1_250, "kwd", "1.250 KWD"),
            (500, "ugx", "5.00 UGX"),
        ] {
            assert_eq!(money(amount, currency), words);
        }
    }
}
