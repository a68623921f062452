//! What happens at a payment provider beyond our calls: customers pay, banks refuse, money goes back, customers are deleted.
//!
//! The contract's stories ([`crate::provider_contract`]) speak to a [`Side`] and know no provider. A third provider joins them by
//! another implementation here.

use counterfoil::app::manual::Step;
use counterfoil::app::operators::By;
use counterfoil::db::testing;
use counterfoil::providers::manual::{Manual, NewPayment, NewRefund, Sale};
use counterfoil::providers::stripe::{Limits, Stripe, StripeConfig};
use counterfoil::providers::{NewCheckout, NewCustomer, PaymentProvider};
use counterfoil_core::manual::price_of;
use counterfoil_core::{
    AttemptId, CustomerId, ExternalCustomerId, ExternalSubscriptionId, IdempotencyKey, Interval, PlanCode, PriceId,
};
use secrecy::SecretString;

use crate::actors::{CANCEL_URL, SUCCESS_URL, Visitor};
use crate::world::{World, free_address, id_of};

/// What a provider may do without; then it says that it has no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    Checkout,
    Portal,
    EventLog,
    ListOfAll,
    Preview,
    RefundByUs,
    Webhooks,
    Pause,
}

/// Somebody at a provider whom our own book does not know.
pub struct Person {
    pub customer_id: CustomerId,
    pub email: String,
    pub id: ExternalCustomerId,
}

pub trait Side {
    /// Under which our book keeps what is there.
    const NAME: &'static str;

    const OFFERS: &'static [Offer];

    fn world(&self) -> &World;

    fn provider(&self) -> &dyn PaymentProvider;

    /// What a plan costs a month, as the provider names it.
    fn price(&self, plan: &str) -> PriceId;

    /// Buys a plan and pays its first month.
    async fn buy(&self, person: &Person, plan: &str) -> ExternalSubscriptionId;

    /// The same for a customer of ours, in the way that customers go.
    async fn sell(&self, visitor: &mut Visitor, plan: &str);

    /// Our customer's counterpart.
    async fn counterpart(&self, visitor: &Visitor) -> ExternalCustomerId;

    /// Sees to it, before the time has come, that the next month is paid.
    async fn will_pay(&self, customer: &ExternalCustomerId, subscription: &ExternalSubscriptionId);

    /// Sees to it that the next month is not paid when its time has come.
    async fn will_not_pay(&self, customer: &ExternalCustomerId);

    /// Pays a month that is overdue.
    async fn pay_late(&self, customer: &ExternalCustomerId, subscription: &ExternalSubscriptionId);

    /// All money of the newest month goes back, and the subscription runs on.
    async fn refund(&self, customer: &ExternalCustomerId, subscription: &ExternalSubscriptionId);

    async fn delete(&self, customer: &ExternalCustomerId);

    /// The same provider behind a broken line.
    async fn cut_off(&self) -> Box<dyn PaymentProvider>;
}

/// A call under a key of its own.
pub fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::from_stored(format!("contract:{name}"))
}

pub fn new_customer<'a>(world: &'a World, customer_id: &'a CustomerId, email: &'a str) -> NewCustomer<'a> {
    NewCustomer { instance: &world.app.instance.instance_id, customer_id, email, name: Some("Ada Ltd") }
}

pub fn fresh_id(world: &World) -> CustomerId {
    CustomerId::from_random(world.app.entropy.bytes())
}

/// Lets time run to a little after this period, and everything that is due with it.
pub async fn pass(world: &World, end: counterfoil_core::Timestamp) {
    world.sandbox().advance(end.as_unix_seconds() - world.sandbox().now().await + 2 * 3600).await;
}

/// Stripe, in whose role the sandbox is.
pub struct Card<'w> {
    pub world: &'w World,
}

impl Card<'_> {
    async fn newest(&self, what: &str, customer: &ExternalCustomerId) -> String {
        let found = self.world.sandbox().list(&format!("/v1/{what}?customer={customer}")).await;
        found.first().and_then(|each| each["id"].as_str()).expect("there is one").to_owned()
    }
}

impl Side for Card<'_> {
    const NAME: &'static str = "stripe";

    const OFFERS: &'static [Offer] = &[
        Offer::Checkout,
        Offer::Portal,
        Offer::EventLog,
        Offer::ListOfAll,
        Offer::Preview,
        Offer::RefundByUs,
        Offer::Webhooks,
        Offer::Pause,
    ];

    fn world(&self) -> &World {
        self.world
    }

    fn provider(&self) -> &dyn PaymentProvider {
        self.world.app.provider.as_ref()
    }

    fn price(&self, plan: &str) -> PriceId {
        let plan = self.world.app.catalog.find(&PlanCode::new(plan)).expect("a plan");
        let monthly = plan.prices.iter().find(|price| price.interval == Interval::Month);
        monthly.expect("a monthly price").price_id()
    }

    async fn buy(&self, person: &Person, plan: &str) -> ExternalSubscriptionId {
        let attempt_id = AttemptId::from_random(self.world.app.entropy.bytes());
        let frozen = self.provider().freeze_checkout(&NewCheckout {
            instance: &self.world.app.instance.instance_id,
            customer_id: &person.customer_id,
            external_customer: &person.id,
            attempt_id: &attempt_id,
            plan: &PlanCode::new(plan),
            price: &self.price(plan),
            success_url: SUCCESS_URL,
            cancel_url: CANCEL_URL,
            trial_ends_at: None,
        });
        let session = self.provider().create_checkout(&key(attempt_id.as_str()), &frozen).await.expect("a session");
        self.world.sandbox().pay(&session.url.expect("an open page"), "success").await;
        ExternalSubscriptionId::new(self.newest("subscriptions", &person.id).await)
    }

    async fn sell(&self, visitor: &mut Visitor, plan: &str) {
        visitor.subscribe(self.world, plan).await;
    }

    async fn counterpart(&self, visitor: &Visitor) -> ExternalCustomerId {
        ExternalCustomerId::new(self.world.stored(visitor).await.stripe_customer_id.expect("a counterpart"))
    }

    /// The card on file does it.
    async fn will_pay(&self, _customer: &ExternalCustomerId, _subscription: &ExternalSubscriptionId) {}

    async fn will_not_pay(&self, customer: &ExternalCustomerId) {
        self.world.sandbox().replace_card(customer.as_str(), "declined").await;
    }

    async fn pay_late(&self, customer: &ExternalCustomerId, _subscription: &ExternalSubscriptionId) {
        self.world.sandbox().replace_card(customer.as_str(), "success").await;
        let invoice = self.newest("invoices", customer).await;
        self.world.sandbox().post(&format!("/v1/invoices/{invoice}/pay"), &[]).await;
    }

    async fn refund(&self, customer: &ExternalCustomerId, _subscription: &ExternalSubscriptionId) {
        let payment = self.newest("payment_intents", customer).await;
        self.world.sandbox().post("/v1/refunds", &[("payment_intent", payment.as_str())]).await;
    }

    async fn delete(&self, customer: &ExternalCustomerId) {
        self.world.sandbox().delete(&format!("/v1/customers/{customer}")).await;
    }

    async fn cut_off(&self) -> Box<dyn PaymentProvider> {
        let (base, secret) = (format!("http://{}", free_address()), SecretString::from("sk_test_contract"));
        let config = StripeConfig::new(base, secret, Vec::new(), false);
        let config = StripeConfig { limits: Limits { attempts_max: 1, ..config.limits.clone() }, ..config };
        Box::new(Stripe::new(config, Box::new(|| 0.0)).expect("a provider"))
    }
}

/// Payment by invoice, as an operator records it.
pub struct Invoice<'w> {
    pub world: &'w World,
}

impl Invoice<'_> {
    fn payment(&self) -> NewPayment {
        let reference = format!("INV-{}", hex::encode(self.world.app.entropy.bytes::<6>()));
        NewPayment { reference, amount: 49_000, currency: "eur".to_owned(), periods: 1 }
    }
}

impl Side for Invoice<'_> {
    const NAME: &'static str = "manual";

    const OFFERS: &'static [Offer] = &[];

    fn world(&self) -> &World {
        self.world
    }

    fn provider(&self) -> &dyn PaymentProvider {
        self.world.app.manual.as_ref()
    }

    fn price(&self, plan: &str) -> PriceId {
        price_of(&PlanCode::new(plan), Interval::Month)
    }

    async fn buy(&self, person: &Person, plan: &str) -> ExternalSubscriptionId {
        let sale = Sale {
            plan: PlanCode::new(plan),
            interval: Interval::Month,
            starts_at: self.world.app.now(),
            payment: Some(self.payment()),
        };
        self.world.app.manual.sell(&person.id, &sale).await.expect("an agreement")
    }

    async fn sell(&self, visitor: &mut Visitor, plan: &str) {
        let (plan, payment) = (PlanCode::new(plan), Some(self.payment()));
        let step = Step::Start { plan, interval: Interval::Month, starts_at: None, payment };
        let by = By::command_line("the invoice was paid").expect("a reason");
        self.world.app.keep_manually(&id_of(visitor), &step, &by).await.expect("an agreement");
        let license = visitor.current_license().await.accepted();
        visitor.license = license["token"].as_str().expect("a licence").to_owned();
    }

    async fn counterpart(&self, visitor: &Visitor) -> ExternalCustomerId {
        let found = self.provider().find_customers(&visitor.email).await.expect("a list");
        found.first().expect("a counterpart").id.clone()
    }

    async fn will_pay(&self, _customer: &ExternalCustomerId, subscription: &ExternalSubscriptionId) {
        self.world.app.manual.record_payment(subscription, &self.payment()).await.expect("a payment");
    }

    /// Nobody records anything.
    async fn will_not_pay(&self, _customer: &ExternalCustomerId) {}

    async fn pay_late(&self, customer: &ExternalCustomerId, subscription: &ExternalSubscriptionId) {
        self.will_pay(customer, subscription).await;
    }

    async fn refund(&self, customer: &ExternalCustomerId, subscription: &ExternalSubscriptionId) {
        let statements = self.world.app.manual.statements(customer).await.expect("statements");
        let of = statements.iter().find(|each| each.account.agreement.id == *subscription).expect("this agreement");
        let payment = of.payments.last().expect("a payment").reference.clone();
        let refund = NewRefund { reference: format!("back of {payment}"), payment, amount: None };
        self.world.app.manual.refund(customer, &refund).await.expect("a refund");
    }

    async fn delete(&self, customer: &ExternalCustomerId) {
        self.world.app.manual.delete_customer(&key("delete"), customer).await.expect("a deletion");
    }

    async fn cut_off(&self) -> Box<dyn PaymentProvider> {
        let database = testing::fresh(self.world.app.db.engine()).await;
        database.db.close().await;
        let app = &self.world.app;
        Box::new(Manual::new(database.db.clone(), app.clock.clone(), app.entropy, false))
    }
}
