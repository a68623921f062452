-- The schema of SQLite. Its twin for PostgreSQL has the same tables, columns, nullability and unique sets; a test compares
-- them. Times are RFC 3339 text of fixed width with `Z`, so that they sort as the instants do.

create table instance (
    id integer primary key check (id = 1),
    instance_id text not null,
    -- Which of the provider's modes and accounts this database was first used with; a key of another one is refused.
    livemode boolean,
    provider_account text,
    -- The provider's own id of the account, once it has told it. Another account knows none of our customers.
    external_account text,
    -- Keys the hashes of the trial ledger, which must not be reversible by guessing addresses.
    ledger_key blob not null,
    created_at text not null
);

create table customers (
    id integer primary key,
    customer_id text not null unique,
    email text not null unique,
    -- When the customer, or an operator, showed that the address is theirs.
    email_verified_at text,
    company_name text,
    password_hash text not null,
    -- The projection of the active billing link; a reference that no end user sees.
    stripe_customer_id text unique,
    -- What is left of a deleted account: its id, also in place of the address, and times. Others refer to it.
    deleted_at text,
    created_at text not null,
    updated_at text not null
);

create table subscriptions (
    id integer primary key,
    customer_id text not null unique references customers (customer_id) on delete cascade,
    stripe_subscription_id text unique,
    plan text not null,
    status text not null,
    billing_interval text,
    trial_ends_at text,
    current_period_ends_at text,
    paid_until text,
    -- What became of the money for the newest paid period; null while it is kept.
    money_back text,
    cancel_at text,
    ended_at text,
    needs_attention text,
    -- When a list of all subscriptions at the provider showed it last.
    listed_at text,
    created_at text not null,
    updated_at text not null
);

-- The plan that a subscription goes over to by itself when its period ends, as the provider was last seen to have it.
create table planned_changes (
    customer_id text primary key not null references customers (customer_id) on delete cascade,
    plan text not null,
    billing_interval text not null,
    starts_at text not null
);
create index subscriptions_trial_ends_at on subscriptions (trial_ends_at) where status = 'trialing';
create index subscriptions_period_ends_at on subscriptions (current_period_ends_at);

-- Who may act for a customer at the provider. The fence rises with every lease and is checked by the write.
create table customer_leases (
    customer_id text primary key not null references customers (customer_id) on delete cascade,
    fence bigint not null,
    leased_until text not null,
    holder text not null
);

create table billing_links (
    id integer primary key,
    customer_id text not null references customers (customer_id),
    provider text not null,
    generation bigint not null,
    state text not null check (state in ('creating', 'active', 'retired')),
    idempotency_key text not null unique,
    email text not null,
    frozen_params text not null,
    opened_at text not null,
    poisoned_at text,
    external_id text,
    -- The only currency that the provider takes from this counterpart, once it has settled on one.
    currency text,
    livemode boolean not null,
    created_at text not null,
    updated_at text not null,
    unique (customer_id, provider, generation),
    unique (external_id, provider)
);
create unique index billing_links_one_current on billing_links (customer_id, provider) where state in ('creating', 'active');
create index billing_links_creating on billing_links (updated_at) where state = 'creating';

create table checkout_attempts (
    id integer primary key,
    attempt_id text not null unique,
    customer_id text not null references customers (customer_id),
    provider text not null,
    plan text not null,
    billing_interval text not null,
    price text not null,
    success_url text not null,
    cancel_url text not null,
    frozen_params text not null,
    -- The end of the trial that the provider goes on counting.
    trial_ends_at text,
    external_id text,
    url text,
    state text not null check (state in ('opening', 'open', 'paying', 'completed', 'expired', 'failed')),
    expires_at text,
    created_at text not null,
    updated_at text not null,
    unique (external_id, provider)
);
create index checkout_attempts_customer_state on checkout_attempts (customer_id, state);
create index checkout_attempts_waiting on checkout_attempts (updated_at) where state in ('opening', 'open', 'paying');

create table licenses (
    id integer primary key,
    license_id text not null unique,
    customer_id text not null references customers (customer_id),
    version bigint not null,
    token text not null,
    key_id text not null,
    plan text not null,
    status text not null,
    trial boolean not null,
    issued_at text not null,
    expires_at text not null,
    refresh_after text not null,
    paid_until text not null,
    reason text not null,
    -- What the licence was made from; an unchanged digest issues no new version.
    facts_digest text not null,
    -- What the catalogue made of it besides; another one says that issuing again would tell the product something new.
    terms_digest text not null,
    -- Who or what issued it: sign_up, look, or an operator. And the newest event that the look finished, or the operator's reason.
    caused_by text not null,
    cause_detail text,
    revoked_at text,
    revoked_because text,
    unique (customer_id, version)
);
create index licenses_key on licenses (key_id);

-- The place of each version in a status list, and what the list says of it. Places are random, so that they tell nothing.
create table license_statuses (
    list bigint not null,
    place bigint not null,
    license_id text not null unique,
    customer_id text not null references customers (customer_id),
    listed text not null check (listed in ('valid', 'invalid', 'suspended', 'superseded')),
    changed_at text not null,
    primary key (list, place)
);
create index license_statuses_customer on license_statuses (customer_id);

-- The machines on which a licence was activated. What tells them apart is kept as a keyed hash only.
create table license_activations (
    id integer primary key,
    activation_id text not null unique,
    customer_id text not null references customers (customer_id) on delete cascade,
    fingerprint_hash text not null,
    name text,
    activated_at text not null,
    unique (customer_id, fingerprint_hash)
);

-- While a row stands, no version is issued for the customer, whatever happens.
create table license_holds (
    customer_id text primary key not null references customers (customer_id) on delete cascade,
    held_at text not null,
    actor text not null,
    reason text not null
);

create table webhook_inbox (
    id integer primary key,
    provider text not null,
    account text not null default '',
    event_id text not null,
    event_type text not null,
    livemode boolean not null,
    api_version text,
    external_customer text,
    -- The payment that the event is about, where it names no customer.
    external_payment text,
    -- Claims are what the payload says of itself; customer_id is what we made of them.
    claimed_customer text,
    claimed_instance text,
    customer_id text,
    -- Whether the provider sent it, or a sweep found it in the provider's own log.
    source text not null check (source in ('webhook', 'sweep')),
    body blob not null,
    state text not null check (state in ('pending', 'processed', 'ignored', 'dead')),
    ignored_because text,
    attempts bigint not null default 0,
    run_at text not null,
    -- Whether the newest error goes away by itself: `transient` or `permanent`.
    failure text check (failure in ('transient', 'permanent')),
    -- Set by the holder of the customer's lease before it looks at the provider; only such rows does its write finish.
    seen_by_fence bigint,
    last_error text,
    received_at text not null,
    processed_at text,
    -- The event first: it alone says which row it is, and every row has the same provider.
    unique (event_id, account, provider)
);
create index webhook_inbox_due on webhook_inbox (run_at) where state = 'pending';
create index webhook_inbox_waiting on webhook_inbox (received_at) where state = 'pending';
create index webhook_inbox_dead on webhook_inbox (id) where state = 'dead';
create index webhook_inbox_external on webhook_inbox (external_customer);
create index webhook_inbox_customer_state on webhook_inbox (customer_id, state);

create table outbox (
    id integer primary key,
    effect_id text not null unique,
    customer_id text,
    kind text not null check (kind in ('mail', 'password_forgot', 'customer_update', 'customer_delete')),
    dedupe_key text not null unique,
    -- What is no mail has no subject and no text; a recipient only where an address is what it is about.
    recipient text not null,
    subject text not null,
    body_text text not null,
    body_html text,
    message_id text not null,
    -- Once the mail server has it, recipient and text are taken out: a link in it opens the account.
    forget_when_sent boolean not null default false,
    state text not null check (state in ('pending', 'sent', 'dead', 'discarded')),
    attempts bigint not null default 0,
    run_at text not null,
    last_error text,
    failure text check (failure in ('transient', 'permanent')),
    created_at text not null,
    sent_at text
);
create index outbox_due on outbox (run_at) where state = 'pending';
create index outbox_waiting on outbox (created_at) where state = 'pending';
create index outbox_dead on outbox (id) where state = 'dead';
create index outbox_customer on outbox (customer_id);

-- Where each sweep stands. One process holds it at a time, and the next one goes on where that one stopped.
create table sweeps (
    sweep text not null check (sweep in ('events', 'comparison')),
    provider text not null,
    -- Up to here everything has been looked through.
    done_until text not null,
    -- The end of the run under way, and where in it to go on; null between runs.
    run_until text,
    position text,
    -- What the run under way has found so far.
    found bigint not null,
    due_at text not null,
    fence bigint not null,
    leased_until text not null,
    holder text not null,
    primary key (sweep, provider)
);

-- One trial per person. No reference to customers: an entry outlives the customer.
create table trial_ledger (
    person_hash text primary key not null,
    customer_id text not null,
    plan text not null,
    started_at text not null,
    ends_at text not null
);

-- What was decided about telling a customer of the end of a trial: once for each end. An extension brings another end.
create table trial_notices (
    customer_id text not null references customers (customer_id) on delete cascade,
    trial_ends_at text not null,
    kind text not null check (kind in ('three_days', 'one_day', 'ended')),
    decided_at text not null,
    primary key (customer_id, trial_ends_at, kind)
);

create table sessions (
    token_hash text primary key not null,
    -- What its owner ends it by; it opens nothing.
    session_id text not null unique,
    customer_id text not null references customers (customer_id) on delete cascade,
    -- Where it began, in words of ours: a program and a network without the end of its address.
    device text not null,
    network text not null,
    created_at text not null,
    -- Noted at most once an hour.
    last_seen_at text not null,
    expires_at text not null
);
create index sessions_customer on sessions (customer_id);
create index sessions_expires_at on sessions (expires_at);

-- Links that went out by mail. Each works once; a newer one of the same purpose, or a change of what it is about, ends it.
create table account_tokens (
    token_hash text primary key not null,
    customer_id text not null references customers (customer_id) on delete cascade,
    purpose text not null check (purpose in ('reset_password', 'change_email', 'object_to_email', 'verify_email')),
    payload text,
    created_at text not null,
    expires_at text not null,
    -- When it was used, or something else ended it.
    used_at text
);
create index account_tokens_customer on account_tokens (customer_id, purpose, created_at);
create index account_tokens_expires_at on account_tokens (expires_at);

create table api_keys (
    id integer primary key,
    key_id text not null unique,
    secret_hash text not null unique,
    name text not null,
    scope text not null,
    created_at text not null,
    last_used_at text,
    revoked_at text
);

-- Every key that signs, will sign or ever signed. The public halves are published, except of those that somebody else has.
create table signing_keys (
    key_id text primary key not null,
    public_key text not null,
    state text not null check (state in ('pending', 'active', 'retired', 'compromised')),
    -- The private half, encrypted, where keys are kept in the database; files hold it otherwise.
    private_key blob,
    created_at text not null,
    activated_at text,
    retired_at text,
    compromised_at text
);
create unique index signing_keys_one_pending on signing_keys (state) where state = 'pending';
create unique index signing_keys_one_active on signing_keys (state) where state = 'active';

-- The list of these keys as the offline root signed it last, for products that pin the root.
create table signed_key_sets (
    id integer primary key check (id = 1),
    root text not null,
    token text not null,
    serial bigint not null,
    expires_at text not null,
    installed_at text not null
);

create table audit_log (
    id integer primary key,
    at text not null,
    actor text not null,
    action text not null,
    customer_id text,
    detail text not null,
    -- Why an operator did it; null where nobody decided.
    reason text
);
create index audit_log_customer on audit_log (customer_id, id);

-- How often somebody may try, for all replicas. A bucket is named by what is limited and a digest of whom; it is full again at
-- `full_at`, in microseconds. A try costs `cost`, and is allowed while the bucket was to be full by `latest`.
create table rate_limits (
    bucket text primary key not null,
    full_at bigint not null,
    cost bigint not null,
    latest bigint not null,
    allowed bigint not null
);

-- The manual provider's own book: an outside world that happens to be here. Nothing else reads or writes these tables, and nothing
-- in them refers to ours. What it says of a customer reaches our book as facts, like any other provider's.
create table manual_customers (
    external_id text primary key not null,
    idempotency_key text not null unique,
    frozen_params text not null,
    email text not null,
    customer_id text not null,
    instance text not null,
    created_at text not null,
    deleted_at text
);
create index manual_customers_email on manual_customers (email);

-- Months are counted from the first day. The revision rises with every write, so that none is lost to another.
create table manual_subscriptions (
    external_id text primary key not null,
    external_customer text not null references manual_customers (external_id),
    plan text not null,
    billing_interval text not null,
    planned_plan text,
    planned_interval text,
    planned_from_month bigint,
    starts_at text not null,
    cancel_at text,
    ended_at text,
    revision bigint not null,
    -- When somebody has to look: at once after a write, and later when the facts change by the clock. Null where they never will.
    look_at text,
    created_at text not null
);
create index manual_subscriptions_customer on manual_subscriptions (external_customer);
create index manual_subscriptions_look_at on manual_subscriptions (look_at) where look_at is not null;

create table manual_payments (
    id integer primary key,
    external_customer text not null references manual_customers (external_id),
    external_subscription text not null references manual_subscriptions (external_id),
    -- The vendor's own: the number of the invoice or of the transfer.
    reference text not null,
    amount bigint not null check (amount > 0),
    currency text not null,
    from_month bigint not null,
    until_month bigint not null,
    recorded_at text not null,
    unique (external_customer, reference)
);
create index manual_payments_subscription on manual_payments (external_subscription);

create table manual_refunds (
    id integer primary key,
    external_customer text not null references manual_customers (external_id),
    payment_id bigint not null references manual_payments (id),
    reference text not null,
    amount bigint not null check (amount > 0),
    recorded_at text not null,
    unique (external_customer, reference)
);
create index manual_refunds_payment on manual_refunds (payment_id);
