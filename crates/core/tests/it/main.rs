//! One binary for all tests of the rules: it links once.

mod checkout;
mod comparison;
mod device;
mod email;
mod entitlement;
mod ids;
mod license;
mod link;
mod link_model;
mod manual;
mod money;
mod password;
mod plan;
mod plan_change;
mod reduce;
mod reduce_properties;
mod reduce_table;
mod refusal;
mod return_url;
mod subscription;
mod support;
mod time;
mod trial;
