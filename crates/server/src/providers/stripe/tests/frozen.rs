use counterfoil_core::{AttemptId, CustomerId, InstanceId, PlanCode, PriceId, Timestamp};

use super::{cus, offline};
use crate::providers::stripe::{BillingAddress, CheckoutOptions};
use crate::providers::{NewCheckout, NewCustomer, PaymentProvider};

const ID: &str = "00000000000040008000000000000000";

#[test]
fn the_frozen_customer_is_these_bytes() {
    let (instance, customer_id) = (InstanceId::from_random([0; 16]), CustomerId::from_random([0; 16]));
    let new = NewCustomer {
        instance: &instance,
        customer_id: &customer_id,
        email: "ada+1@example.com",
        name: Some("Ada & Söhne"),
    };
    let stripe = offline(&[]);
    let tail = format!("metadata[customer_id]=cust_{ID}&metadata[app]=counterfoil&metadata[instance]=inst_{ID}");
    assert_eq!(stripe.freeze_customer(&new), format!("email=ada%2B1%40example.com&name=Ada%20%26%20S%C3%B6hne&{tail}"));
    let nameless = NewCustomer { name: None, ..new };
    assert_eq!(stripe.freeze_customer(&nameless), format!("email=ada%2B1%40example.com&{tail}"));
}

#[test]
fn the_frozen_checkout_is_these_bytes() {
    let (instance, customer_id) = (InstanceId::from_random([0; 16]), CustomerId::from_random([0; 16]));
    let attempt_id = AttemptId::from_random([0; 16]);
    let plan: PlanCode = serde_json::from_value("professional".into()).unwrap();
    let new = NewCheckout {
        instance: &instance,
        customer_id: &customer_id,
        external_customer: &cus("cus_1"),
        attempt_id: &attempt_id,
        plan: &plan,
        price: &PriceId::new("price_pro_monthly"),
        success_url: "http://localhost:3000/success?s={CHECKOUT_SESSION_ID}&x=1",
        cancel_url: "http://localhost:3000/cancel",
        trial_ends_at: None,
    };
    let frozen = offline(&[]).freeze_checkout(&new);
    let expected = [
        "mode=subscription".to_owned(),
        "customer=cus_1".to_owned(),
        format!("client_reference_id=cust_{ID}"),
        "line_items[0][price]=price_pro_monthly".to_owned(),
        "line_items[0][quantity]=1".to_owned(),
        "success_url=http%3A%2F%2Flocalhost%3A3000%2Fsuccess%3Fs%3D%7BCHECKOUT_SESSION_ID%7D%26x%3D1".to_owned(),
        "cancel_url=http%3A%2F%2Flocalhost%3A3000%2Fcancel".to_owned(),
        format!("metadata[customer_id]=cust_{ID}"),
        "metadata[plan]=professional".to_owned(),
        format!("metadata[instance]=inst_{ID}"),
        "metadata[app]=counterfoil".to_owned(),
        format!("metadata[attempt_id]=att_{ID}"),
        format!("subscription_data[metadata][customer_id]=cust_{ID}"),
        "subscription_data[metadata][plan]=professional".to_owned(),
        format!("subscription_data[metadata][instance]=inst_{ID}"),
        "subscription_data[metadata][app]=counterfoil".to_owned(),
    ];
    assert_eq!(frozen.split('&').collect::<Vec<_>>(), expected);
    let more = |options: CheckoutOptions, trial_ends_at| {
        let stripe = super::offline_with(options);
        let longer = stripe.freeze_checkout(&NewCheckout { trial_ends_at, ..new.clone() });
        longer.strip_prefix(&frozen).expect("the rest is the same").to_owned()
    };
    let nothing = CheckoutOptions::default();
    assert_eq!(more(nothing, None), "");
    let trial = "&subscription_data[trial_end]=1790000000\
                 &subscription_data[trial_settings][end_behavior][missing_payment_method]=cancel\
                 &payment_method_collection=always";
    assert_eq!(more(nothing, Some(Timestamp::from_unix_seconds(1_790_000_000))), trial);
    let update = "&customer_update[address]=auto&customer_update[name]=auto";
    let table = [
        (CheckoutOptions { promotion_codes: true, ..nothing }, "&allow_promotion_codes=true".to_owned()),
        (CheckoutOptions { automatic_tax: true, ..nothing }, format!("&automatic_tax[enabled]=true{update}")),
        (CheckoutOptions { tax_id_collection: true, ..nothing }, format!("&tax_id_collection[enabled]=true{update}")),
        (
            CheckoutOptions { billing_address: Some(BillingAddress::Required), ..nothing },
            "&billing_address_collection=required".to_owned(),
        ),
        (
            CheckoutOptions { billing_address: Some(BillingAddress::Auto), ..nothing },
            "&billing_address_collection=auto".to_owned(),
        ),
    ];
    for (options, sent) in table {
        assert_eq!(more(options, None), sent, "{options:?}");
    }
    assert!(!frozen.contains("ui_mode") && !frozen.contains("payment_method_types"));
}
