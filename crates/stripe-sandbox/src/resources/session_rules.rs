//! What Stripe asks of a new checkout session, with its own words where they are known.

use serde_json::{Value, json};

use super::{prices, products, subscriptions};
use crate::clock::{DAY, HOUR};
use crate::context::Context;
use crate::error::ApiError;
use crate::form::Params;
use crate::json;
use crate::store::Kind;

const LIFETIME_SECONDS_MIN: i64 = HOUR / 2;
const LIFETIME_SECONDS_MAX: i64 = DAY;
const TRIAL_SECONDS_MIN: i64 = 2 * DAY;
const RECURRING_LINES_MAX: usize = 20;
const REFERENCE_CHARS_MAX: usize = 200;

pub(crate) struct Line {
    pub price: Value,
    pub quantity: i64,
}

impl Line {
    pub(crate) fn amount(&self) -> i64 {
        json::int(&self.price, "unit_amount") * self.quantity
    }
}

pub(crate) struct Request {
    pub mode: String,
    pub customer: Option<Value>,
    pub currency: String,
    pub lines: Vec<Line>,
    pub success_url: String,
    pub expires_at: i64,
    pub trial_end: Option<i64>,
    pub missing_card: String,
}

pub(crate) fn read(cx: &mut Context, params: &Params) -> Result<Request, ApiError> {
    let mode = params.one_of("mode", &["payment", "subscription"])?.unwrap_or_default().to_owned();
    params.one_of("ui_mode", &["hosted_page", "hosted_page"])?;
    check_urls(params)?;
    if params.filled("client_reference_id").is_some_and(|text| text.chars().count() > REFERENCE_CHARS_MAX) {
        let message = format!("Invalid string: must be at most {REFERENCE_CHARS_MAX} characters");
        return Err(ApiError::invalid(message).param("client_reference_id"));
    }
    let customer = customer(cx, params)?;
    check_customer_rules(params, customer.as_ref())?;
    let lines = lines(cx, params, &mode)?;
    let currency = json::text(&lines[0].price, "currency").to_owned();
    if lines.iter().any(|line| json::text(&line.price, "currency") != currency) {
        return Err(ApiError::invalid("All prices on a Checkout Session must have the same currency."));
    }
    if let Some(customer) = &customer {
        subscriptions::check_currency(customer, &currency)?;
        check_open_sessions(cx, customer, &mode, &currency)?;
    }
    if mode == "payment" && params.has("subscription_data") {
        let message = "You can not pass `subscription_data` in `payment` mode.";
        return Err(ApiError::invalid(message).param("subscription_data"));
    }
    if mode == "subscription" && params.has("payment_intent_data") {
        let message = "You can not pass `payment_intent_data` in `subscription` mode.";
        return Err(ApiError::invalid(message).param("payment_intent_data"));
    }
    Ok(Request {
        customer,
        currency,
        lines,
        success_url: params.required("success_url")?.to_owned(),
        expires_at: expires_at(params, cx.now)?,
        trial_end: subscriptions::trial_end(params, "subscription_data.", cx.now, TRIAL_SECONDS_MIN)?,
        missing_card: subscriptions::missing_card(params, "subscription_data.trial_settings")?,
        mode,
    })
}

/// Checkouts of subscriptions that are open at the same time hold a customer to one currency too.
fn check_open_sessions(cx: &Context, customer: &Value, mode: &str, currency: &str) -> Result<(), ApiError> {
    let (id, subscribes) = (json::text(customer, "id"), mode == "subscription");
    let open = |session: &&Value| {
        json::text(session, "status") == "open"
            && json::text(session, "mode") == "subscription"
            && json::text(session, "customer") == id
    };
    let mut others = cx.store.newest_first(Kind::Session).map(|(_, session)| session).filter(open);
    match others.find(|session| subscribes && json::text(session, "currency") != currency) {
        Some(other) => subscriptions::check_currency(&json!({ "currency": other["currency"] }), currency),
        None => Ok(()),
    }
}

fn check_urls(params: &Params) -> Result<(), ApiError> {
    params.required("success_url")?;
    for name in ["success_url", "cancel_url"] {
        if let Some(url) = params.filled(name).filter(|url| !is_web_url(url)) {
            tracing::debug!(length = url.len(), "a return URL was refused");
            return Err(ApiError::invalid("Not a valid URL").code("url_invalid").param(name));
        }
    }
    Ok(())
}

pub(crate) fn is_web_url(text: &str) -> bool {
    let plain = text.replace("{CHECKOUT_SESSION_ID}", "x");
    reqwest::Url::parse(&plain).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn customer(cx: &Context, params: &Params) -> Result<Option<Value>, ApiError> {
    if params.filled("customer").is_some() && params.filled("customer_email").is_some() {
        let message = "You may only specify one of these parameters: customer, customer_email.";
        return Err(ApiError::invalid(message).param("customer_email"));
    }
    params.filled("customer").map(|id| cx.reference(Kind::Customer, id, "customer")).transpose()
}

fn check_customer_rules(params: &Params, customer: Option<&Value>) -> Result<(), ApiError> {
    if params.has("customer_update") && customer.is_none() {
        return Err(ApiError::invalid("`customer_update` can only be used with `customer` or `customer_account`."));
    }
    let Some(customer) = customer else { return Ok(()) };
    let wants_tax = params.flag("automatic_tax.enabled")?.unwrap_or_default();
    if wants_tax && customer["address"].is_null() && params.filled("customer_update.address") != Some("auto") {
        let message = "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid \
            address to the Customer or set `customer_update[address]` to 'auto' to save the address entered during \
            Checkout to the Customer.";
        return Err(ApiError::invalid(message).code("customer_tax_location_invalid"));
    }
    let wants_tax_id = params.flag("tax_id_collection.enabled")?.unwrap_or_default();
    if wants_tax_id && params.filled("customer_update.name") != Some("auto") {
        let message = "Tax ID collection requires updating business name on the customer. To enable tax ID collection \
            for an existing customer, please set `customer_update[name]` to `auto`.";
        return Err(ApiError::invalid(message));
    }
    Ok(())
}

fn lines(cx: &mut Context, params: &Params, mode: &str) -> Result<Vec<Line>, ApiError> {
    let given = params.list("line_items");
    if given.is_empty() {
        return Err(ApiError::missing("line_items"));
    }
    let mut lines = Vec::new();
    for (index, line) in given.iter().enumerate() {
        let path = format!("line_items.{index}");
        let quantity = line.int("quantity")?.ok_or_else(|| {
            ApiError::invalid("Quantity is required. Add `quantity` to `line_items[0]`.")
                .param(&format!("{path}.quantity"))
        })?;
        if quantity < 1 {
            let message = "This value must be greater than or equal to 1.";
            return Err(ApiError::invalid(message).param(&format!("{path}.quantity")));
        }
        let price = match line.filled("price") {
            Some(id) => {
                let path = format!("{path}.price");
                subscriptions::active_price(cx.reference(Kind::Price, id, &path)?, &path)?
            }
            None => inline_price(cx, line, &path)?,
        };
        lines.push(Line { price, quantity });
    }
    let recurring = lines.iter().filter(|line| !line.price["recurring"].is_null()).count();
    if mode == "payment" && recurring > 0 {
        let message = "You specified `payment` mode but passed a recurring price. Either switch to `subscription` \
            mode or use only one-time prices.";
        return Err(ApiError::invalid(message));
    }
    if mode == "subscription" && (recurring == 0 || recurring > RECURRING_LINES_MAX) {
        let message = "You must provide at least one recurring price in `subscription` mode when using prices.";
        return Err(ApiError::invalid(message));
    }
    Ok(lines)
}

/// `price_data`: a price, and possibly a product, for this session alone.
fn inline_price(cx: &mut Context, line: &Params, path: &str) -> Result<Value, ApiError> {
    if !line.has("price_data") {
        return Err(ApiError::missing(&format!("{path}.price")));
    }
    let product = match line.filled("price_data.product") {
        Some(id) => {
            cx.reference(Kind::Product, id, &format!("{path}.price_data.product"))?;
            id.to_owned()
        }
        None => {
            let id = cx.ids.short("prod_");
            products::create_with_id(cx, &id, line, "price_data.product_data.")?;
            id
        }
    };
    let id = cx.ids.long("price_");
    let mut value = prices::read(cx, &id, line, "price_data.", &product)?;
    // Such a price cannot be used again.
    json::set(&mut value, "active", false);
    cx.create(Kind::Price, &id, value.clone());
    Ok(value)
}

fn expires_at(params: &Params, now: i64) -> Result<i64, ApiError> {
    let Some(at) = params.int("expires_at")? else { return Ok(now + LIFETIME_SECONDS_MAX) };
    if at < now + LIFETIME_SECONDS_MIN {
        let message = "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.";
        return Err(ApiError::invalid(message).param("expires_at"));
    }
    if at > now + LIFETIME_SECONDS_MAX {
        let message = "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.";
        return Err(ApiError::invalid(message).param("expires_at"));
    }
    Ok(at)
}

/// The session's lines again, as they were stored.
pub(crate) fn stored_lines(session: &Value) -> Vec<(Value, i64)> {
    json::items(session, "_line_items")
        .iter()
        .map(|line| (line.get("price").cloned().unwrap_or(json!({})), json::int(line, "quantity")))
        .collect()
}
