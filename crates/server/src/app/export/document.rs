//! The shape of the export. [`VERSION`] says which one it is.

use counterfoil_core::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// What the document calls itself.
pub const FORMAT: &str = "counterfoil-customer-export";

/// Rises when a field changes its meaning or goes away. A field that is added changes nothing for who reads the others.
pub const VERSION: u32 = 1;

/// Everything about one customer. Lists begin with the newest.
#[derive(Debug, Serialize, ToSchema)]
pub struct Export {
    #[schema(example = "counterfoil-customer-export")]
    pub format: &'static str,
    pub version: u32,
    #[schema(value_type = String, format = DateTime)]
    pub exported_at: Timestamp,
    pub customer: CustomerPart,
    pub subscription: SubscriptionPart,
    /// The free trials that are remembered for this person.
    pub trials: Vec<TrialPart>,
    pub licenses: Vec<LicensePart>,
    /// The machines on which a licence is activated.
    pub activations: Vec<ActivationPart>,
    pub checkouts: Vec<CheckoutPart>,
    /// Where payments are kept.
    pub billing: Vec<BillingPart>,
    /// What is paid by invoice.
    pub invoices: Vec<InvoicePart>,
    pub mails: Vec<MailPart>,
    pub sessions: Vec<SessionPart>,
    /// What was done to the account.
    pub history: Vec<HistoryPart>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedCustomer)]
pub struct CustomerPart {
    pub customer_id: String,
    pub email: String,
    pub company_name: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedSubscription)]
pub struct SubscriptionPart {
    pub plan: String,
    pub status: String,
    pub interval: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub trial_ends_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub current_period_ends_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paid_until: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cancel_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// What became of the money where it went back.
    pub money_back: Option<String>,
    /// The plan that takes over when the period ends.
    pub planned_plan: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedTrial)]
pub struct TrialPart {
    pub plan: String,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedLicense)]
pub struct LicensePart {
    pub license_id: String,
    pub version: i64,
    pub token: String,
    pub plan: String,
    pub status: String,
    pub trial: bool,
    #[schema(value_type = String, format = DateTime)]
    pub issued_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub paid_until: Timestamp,
    pub reason: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedActivation)]
pub struct ActivationPart {
    pub activation_id: String,
    pub name: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub activated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedCheckout)]
pub struct CheckoutPart {
    pub attempt_id: String,
    pub plan: String,
    pub interval: String,
    pub state: String,
    pub success_url: String,
    pub cancel_url: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedBilling)]
pub struct BillingPart {
    #[schema(example = "stripe")]
    pub provider: String,
    pub state: String,
    /// The address that was given to the provider.
    pub email: String,
    pub currency: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedInvoice)]
pub struct InvoicePart {
    pub plan: String,
    pub interval: String,
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    pub payments: Vec<PaymentPart>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedPayment)]
pub struct PaymentPart {
    /// The number of the invoice or of the transfer.
    pub reference: String,
    /// In the smallest unit of the currency.
    pub amount: i64,
    pub refunded: i64,
    pub currency: String,
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedMail)]
pub struct MailPart {
    pub recipient: String,
    pub subject: String,
    pub state: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    /// Null where it is not kept, or has a link that opens the account.
    pub text: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedSession)]
pub struct SessionPart {
    /// What it began on, as far as it said so.
    #[schema(example = "Firefox on Linux")]
    pub device: String,
    /// The network it began in, without the end of the address.
    #[schema(example = "203.0.113.x")]
    pub network: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedHistory)]
pub struct HistoryPart {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `customer`, `vendor` or `system`; for operators who it was.
    #[schema(example = "customer")]
    pub actor: String,
    pub action: String,
    pub detail: String,
    /// Why somebody at the vendor's did it.
    pub reason: Option<String>,
}

/// The same for operators: with the ids that customers are not shown, and with a history that names who did what.
#[derive(Debug, Serialize, ToSchema)]
pub struct OperatorExport {
    #[serde(flatten)]
    pub export: Export,
    pub provider: ProviderPart,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedProvider)]
pub struct ProviderPart {
    pub stripe_customer_id: Option<String>,
    pub stripe_subscription_id: Option<String>,
    /// Every id that the customer ever had at a provider, the newest first.
    pub external_ids: Vec<String>,
}
