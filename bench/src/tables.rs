//! The tables that a customer has rows in, and their columns, in the order in which they are written.

/// A table, and its columns in the order of a row's cells.
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [&'static str],
}

/// In an order in which no row refers to a later one.
pub const TABLES: [Table; 9] = [
    Table {
        name: "customers",
        columns: &["customer_id", "email", "password_hash", "stripe_customer_id", "created_at", "updated_at"],
    },
    Table {
        name: "subscriptions",
        columns: &["customer_id", "plan", "status", "trial_ends_at", "created_at", "updated_at"],
    },
    Table {
        name: "billing_links",
        columns: &[
            "customer_id",
            "provider",
            "generation",
            "state",
            "idempotency_key",
            "email",
            "frozen_params",
            "opened_at",
            "external_id",
            "livemode",
            "created_at",
            "updated_at",
        ],
    },
    Table {
        name: "licenses",
        columns: &[
            "license_id",
            "customer_id",
            "version",
            "token",
            "key_id",
            "plan",
            "status",
            "trial",
            "issued_at",
            "expires_at",
            "refresh_after",
            "paid_until",
            "reason",
            "facts_digest",
            "terms_digest",
            "caused_by",
        ],
    },
    Table {
        name: "license_statuses",
        columns: &["list", "place", "license_id", "customer_id", "listed", "changed_at"],
    },
    Table { name: "trial_ledger", columns: &["person_hash", "customer_id", "plan", "started_at", "ends_at"] },
    Table {
        name: "outbox",
        columns: &[
            "effect_id",
            "customer_id",
            "kind",
            "dedupe_key",
            "recipient",
            "subject",
            "body_text",
            "message_id",
            "state",
            "attempts",
            "run_at",
            "created_at",
            "sent_at",
        ],
    },
    Table {
        name: "sessions",
        columns: &[
            "token_hash",
            "session_id",
            "customer_id",
            "device",
            "network",
            "created_at",
            "last_seen_at",
            "expires_at",
        ],
    },
    Table { name: "audit_log", columns: &["at", "actor", "action", "customer_id", "detail"] },
];
