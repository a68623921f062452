//! The hosted invoice page, to which `hosted_invoice_url` leads.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::{not_found, page};
use crate::billing::lines::money;
use crate::clock::human_date;
use crate::json;
use crate::resources::invoices::lines_of;
use crate::sandbox::Inner;
use crate::store::Kind;

#[derive(Template)]
#[template(path = "invoice.html")]
struct InvoicePage {
    number: String,
    date: String,
    status: String,
    lines: Vec<(String, String)>,
    total: String,
    due: String,
}

pub(crate) async fn show(State(inner): State<Arc<Inner>>, Path(id): Path<String>) -> Response {
    let Some(invoice) = inner.read(|store| store.get(Kind::Invoice, &id).cloned()) else {
        return not_found().await;
    };
    let currency = json::text(&invoice, "currency");
    let lines = lines_of(&invoice)
        .iter()
        .map(|line| (json::text(line, "description").to_owned(), money(json::int(line, "amount"), currency)));
    let template = InvoicePage {
        number: json::text(&invoice, "number").to_owned(),
        date: human_date(json::int(&invoice, "created")),
        status: json::text(&invoice, "status").to_owned(),
        lines: lines.collect(),
        total: money(json::int(&invoice, "total"), currency),
        due: money(json::int(&invoice, "amount_remaining"), currency),
    };
    page(StatusCode::OK, &template)
}
