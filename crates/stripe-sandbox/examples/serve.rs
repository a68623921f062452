//! Runs a sandbox for trying it by hand: `cargo run -p counterfoil-stripe-sandbox --example serve -- 3101`.
//! A second argument is the URL that receives webhooks, signed with `whsec_sandbox`; a third is the file that keeps the
//! state, which otherwise lives in memory.

use counterfoil_stripe_sandbox::{API_KEY, Sandbox, SandboxConfig, SeedPrice, SeedWebhook};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "3101".into());
    let webhook =
        arguments.next().filter(|url| !url.is_empty()).map(|url| SeedWebhook { url, secret: "whsec_sandbox".into() });
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let sandbox = Sandbox::open(SandboxConfig {
        public_url: format!("http://{}", listener.local_addr()?),
        api_key: API_KEY.into(),
        data: arguments.next().map(Into::into),
        prices: vec![price("price_pro_monthly", "month", 4_900), price("price_pro_yearly", "year", 49_000)],
        webhook,
    })?;
    let deliveries = sandbox.clone();
    tokio::spawn(async move { deliveries.run_deliveries(CancellationToken::new()).await });
    println!("http://{} (key {API_KEY})", listener.local_addr()?);
    axum::serve(listener, sandbox.router()).await?;
    Ok(())
}

fn price(id: &str, interval: &str, amount: i64) -> SeedPrice {
    SeedPrice {
        price_id: id.into(),
        product_name: "Professional".into(),
        description: "Everything a team needs".into(),
        interval: interval.into(),
        currency: "usd".into(),
        amount,
        product_key: "professional".into(),
    }
}
