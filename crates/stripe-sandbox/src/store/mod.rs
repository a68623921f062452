//! The sandbox's state: tables of JSON objects with an undo list and an append-only log.
//!
//! A call changes rows in place; [`Store::commit`] writes the changed rows to the log and forces them to the disk before
//! anything is acknowledged, [`Store::rollback`] puts the old rows back. Invariant: what is in memory without a pending
//! undo entry is also in the log.

mod log;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use log::Log;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Customer,
    Product,
    Price,
    PaymentMethod,
    PaymentIntent,
    SetupIntent,
    Charge,
    Refund,
    Dispute,
    Session,
    Subscription,
    Schedule,
    Invoice,
    InvoiceItem,
    InvoicePayment,
    PortalConfiguration,
    PortalSession,
    Endpoint,
    Event,
    Delivery,
    IdempotencyKey,
    /// The sandbox's own facts, for example how far its clock is ahead.
    Meta,
}

impl Kind {
    /// What Stripe calls this thing in `No such …: 'x'`.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Product => "product",
            Self::Price => "price",
            Self::PaymentMethod => "PaymentMethod",
            Self::PaymentIntent => "payment_intent",
            Self::SetupIntent => "setupintent",
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Dispute => "dispute",
            Self::Session => "checkout.session",
            Self::Subscription => "subscription",
            Self::Schedule => "subscription_schedule",
            Self::Invoice => "invoice",
            Self::InvoiceItem => "invoiceitem",
            Self::InvoicePayment => "invoice_payment",
            Self::PortalConfiguration => "configuration",
            Self::PortalSession => "billing portal session",
            Self::Endpoint => "webhook endpoint",
            Self::Event => "event",
            Self::Delivery | Self::IdempotencyKey | Self::Meta => "object",
        }
    }
}

#[derive(Clone)]
struct Row {
    /// Order of creation. `created` has whole seconds and cannot order a list.
    number: u64,
    value: Value,
}

#[derive(Default)]
struct Table {
    rows: HashMap<String, Row>,
    order: BTreeMap<u64, String>,
}

impl Table {
    fn restore(&mut self, id: &str, row: Option<Row>) {
        if let Some(current) = self.rows.remove(id) {
            self.order.remove(&current.number);
        }
        if let Some(row) = row {
            self.order.insert(row.number, id.to_owned());
            self.rows.insert(id.to_owned(), row);
        }
    }
}

#[derive(Default)]
pub(crate) struct Store {
    tables: BTreeMap<Kind, Table>,
    next_number: u64,
    undo: BTreeMap<(Kind, String), Option<Row>>,
    log: Option<Log>,
}

impl Store {
    /// Opens the state kept in `file`, or an empty one in memory.
    pub(crate) fn open(file: Option<&Path>) -> std::io::Result<Self> {
        let mut store = Self::default();
        let Some(file) = file else { return Ok(store) };
        let (log, lines) = Log::open(file)?;
        for change in lines {
            store.next_number = store.next_number.max(change.number + 1);
            let row = change.value.map(|value| Row { number: change.number, value });
            store.tables.entry(change.kind).or_default().restore(&change.id, row);
        }
        store.log = Some(log);
        store.compact()?;
        Ok(store)
    }

    pub(crate) fn get(&self, kind: Kind, id: &str) -> Option<&Value> {
        self.tables.get(&kind)?.rows.get(id).map(|row| &row.value)
    }

    /// Everything of a kind, newest first, as Stripe lists it.
    pub(crate) fn newest_first(&self, kind: Kind) -> impl Iterator<Item = (&str, &Value)> {
        self.tables.get(&kind).into_iter().flat_map(|table| {
            table.order.values().rev().filter_map(|id| table.rows.get(id).map(|row| (id.as_str(), &row.value)))
        })
    }

    pub(crate) fn oldest_first(&self, kind: Kind) -> impl Iterator<Item = (&str, &Value)> {
        self.tables.get(&kind).into_iter().flat_map(|table| {
            table.order.values().filter_map(|id| table.rows.get(id).map(|row| (id.as_str(), &row.value)))
        })
    }

    pub(crate) fn put(&mut self, kind: Kind, id: &str, value: Value) {
        let table = self.tables.entry(kind).or_default();
        let old = table.rows.get(id).cloned();
        let number = old.as_ref().map_or(self.next_number, |row| row.number);
        self.next_number = self.next_number.max(number + 1);
        self.undo.entry((kind, id.to_owned())).or_insert(old);
        table.restore(id, Some(Row { number, value }));
    }

    pub(crate) fn remove(&mut self, kind: Kind, id: &str) {
        let Some(table) = self.tables.get_mut(&kind) else { return };
        let Some(old) = table.rows.get(id).cloned() else { return };
        self.undo.entry((kind, id.to_owned())).or_insert(Some(old));
        table.restore(id, None);
    }

    /// Makes the changes since the last commit durable and says whether there were any. On an error they are undone.
    pub(crate) fn commit(&mut self) -> std::io::Result<bool> {
        if self.undo.is_empty() {
            return Ok(false);
        }
        if let Some(log) = self.log.as_mut() {
            let tables = &self.tables;
            let changes = self.undo.iter().map(|((kind, id), old)| {
                let row = tables.get(kind).and_then(|table| table.rows.get(id));
                let number = row.or(old.as_ref()).map_or(0, |row| row.number);
                log::Change { kind: *kind, id: id.clone(), number, value: row.map(|row| row.value.clone()) }
            });
            if let Err(error) = log.append(changes) {
                self.rollback();
                return Err(error);
            }
        }
        self.undo.clear();
        if self.log.as_ref().is_some_and(Log::wants_compaction)
            && let Err(error) = self.compact()
        {
            // The changes are already durable; only the file stays longer than it need be.
            tracing::warn!(%error, "the sandbox's state file could not be compacted");
        }
        Ok(true)
    }

    pub(crate) fn rollback(&mut self) {
        for ((kind, id), row) in std::mem::take(&mut self.undo) {
            self.tables.entry(kind).or_default().restore(&id, row);
        }
    }

    fn compact(&mut self) -> std::io::Result<()> {
        let Some(log) = self.log.as_mut() else { return Ok(()) };
        log.rewrite(self.tables.iter().flat_map(|(kind, table)| {
            table.order.iter().filter_map(|(number, id)| {
                let row = table.rows.get(id)?;
                Some(log::Change { kind: *kind, id: id.clone(), number: *number, value: Some(row.value.clone()) })
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rolled_back_change_leaves_nothing() {
        let mut store = Store::default();
        store.put(Kind::Customer, "a", json!({"n": 1}));
        store.commit().expect("memory");
        store.put(Kind::Customer, "a", json!({"n": 2}));
        store.put(Kind::Customer, "b", json!({}));
        store.remove(Kind::Customer, "a");
        store.rollback();
        assert_eq!(store.get(Kind::Customer, "a"), Some(&json!({"n": 1})));
        assert_eq!(store.newest_first(Kind::Customer).count(), 1);
    }

    #[test]
    fn committed_rows_survive_reopening_in_order_and_a_torn_line_is_ignored() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("state.jsonl");
        let mut store = Store::open(Some(&file)).expect("opens");
        for id in ["one", "two", "three"] {
            store.put(Kind::Event, id, json!({ "id": id }));
            store.commit().expect("commits");
        }
        store.remove(Kind::Event, "two");
        store.commit().expect("commits");
        drop(store);
        let mut text = std::fs::read(&file).expect("reads");
        text.extend_from_slice(b"[{\"kind\":\"event\",\"id\":\"torn\"");
        std::fs::write(&file, text).expect("writes");
        let store = Store::open(Some(&file)).expect("opens again");
        let ids: Vec<_> = store.oldest_first(Kind::Event).map(|(id, _)| id.to_owned()).collect();
        assert_eq!(ids, ["one", "three"]);
    }

    #[test]
    fn a_second_opener_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("state.jsonl");
        let _first = Store::open(Some(&file)).expect("opens");
        assert!(Store::open(Some(&file)).is_err());
    }
}
