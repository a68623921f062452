//! Licences as files: what is downloaded is read by the crate that products embed, and verified with nothing else at hand.

use counterfoil::app::operators::By;
use counterfoil_license::{
    Expectations, KeySet, LicenseFile, RootKey, RootPublicKey, SignedKeySet, State, StatusList, Trust, Verifier,
};

use crate::actors::Visitor;
use crate::client::Answer;
use crate::keys::signed;
use crate::world::{World, id_of};

const FILE: &str = "/api/licenses/current/file";
const BUNDLE: &str = "/api/licenses/current/file?bundle=true";

/// What a product without network says of a file.
fn offline<'a>(world: &World, file: &LicenseFile, keys: impl Into<Trust<'a>>) -> State {
    let keys = keys.into();
    let expect = Expectations::new(world.config.public_url.as_str(), &world.config.product);
    let list = file.status_list.as_ref().map(|text| StatusList::open(text, keys).expect("a list of a trusted key"));
    let verifier = Verifier::new(keys, expect).status_list(list.as_ref()).require_status_list(list.is_some());
    verifier.verify(&file.license, world.app.now().as_unix_seconds()).state
}

#[track_caller]
fn saved(answer: &Answer, name: &str) -> LicenseFile {
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; charset=utf-8"), "{}", answer.body);
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{name}\""));
    assert_eq!(answer.header("cache-control"), "no-store");
    LicenseFile::parse(&answer.body).expect("a license file")
}

async fn bundle(world: &World, visitor: &Visitor) -> LicenseFile {
    saved(&visitor.http.get(BUNDLE).await, &format!("{}-bundle.lic", world.config.product))
}

async fn a_licence_is_saved_as_a_file_that_says_what_it_is(world: &World) {
    let mut ada = world.customer("ada@example.com").await;
    ada.subscribe(world, "professional").await;
    let product = &world.config.product;
    let answer = ada.http.get(FILE).await;
    let file = saved(&answer, &format!("{product}-license.lic"));
    assert_eq!(file, LicenseFile { license: ada.license.clone(), key_set: None, status_list: None });
    let me = ada.me().await.accepted();
    let company = me["customer"]["company_name"].as_str().expect("a company").to_owned();
    let until = ada.current_license().await.accepted()["expires_at"].as_str().unwrap()[..10].to_owned();
    for line in [format!("Product: {product}"), "Plan: professional".to_owned(), format!("Works until: {until}")] {
        assert!(answer.body.lines().any(|each| each == line), "{line}: {}", answer.body);
    }
    assert!(answer.body.contains(&format!("\nCompany: {company}\n")), "{}", answer.body);
    assert_eq!(ada.http.get("/account/license/file").await.body, answer.body, "the page gives the same");
    let keys = KeySet::from_jwks(&world.http.get("/.well-known/jwks.json").await.body).unwrap();
    assert_eq!(offline(world, &file, &keys), State::Valid);

    let page = ada.http.get("/account/license").await;
    assert!(page.page().contains("The public keys are not in it"), "{}", page.body);
    for path in ["/account/license/file", "/account/license/bundle", "/account/license/download"] {
        assert!(page.body.contains(&format!("href=\"{path}\"")), "{path}");
    }
    let bundled = bundle(world, &ada).await;
    assert_eq!((&bundled.license, &bundled.key_set), (&ada.license, &None), "no root signs the keys");
    assert!(bundled.status_list.is_some());
    assert_eq!(offline(world, &bundled, &keys), State::Valid);
    for query in ["bundle=perhaps", "bundle", "format=zip"] {
        ada.http.get(&format!("{FILE}?{query}")).await.refused(422, "invalid_request");
    }
    assert_eq!(ada.http.get(&format!("{FILE}?bundle=false")).await.body, answer.body);
}

async fn a_bundle_is_all_that_a_machine_without_network_needs(world: &World) {
    let root = RootKey::from_seed(&[1; 32]);
    let by = By::command_line("for a test").unwrap();
    let pinned = root.public().to_string();
    let text = signed(world, &root, 1, 365).await;
    world.app.install_key_set(&text, Some(&pinned), &by).await.unwrap();
    let judge = |file: &LicenseFile| {
        let root: RootPublicKey = pinned.parse().unwrap();
        let keys = SignedKeySet::open(file.key_set.as_deref().expect("a key set"), &root, None).unwrap();
        assert!(file.status_list.is_some());
        offline(world, file, &keys)
    };
    let mut ada = world.customer("ada@example.com").await;
    let trial = bundle(world, &ada).await;
    assert_eq!(judge(&trial), State::Valid);
    assert!(!ada.http.get("/account/license").await.page().contains("The public keys are not in it"));
    let alone = LicenseFile::parse(&ada.http.get(FILE).await.body).unwrap();
    assert_eq!((alone.key_set, alone.status_list), (None, None), "only the bundle has them");
    ada.subscribe(world, "professional").await;
    world.sandbox().advance(61).await;
    world.settled().await;
    let paid = bundle(world, &ada).await;
    assert_eq!((&paid.license, judge(&paid)), (&ada.license, State::Valid));
    assert_eq!(judge(&LicenseFile { license: trial.license, ..paid }), State::Superseded, "the newer list tells");
}

async fn there_is_no_file_where_there_is_no_licence(world: &World) {
    let ada = world.customer("ada@example.com").await;
    for path in [FILE, BUNDLE] {
        world.http.get(path).await.refused(401, "not_signed_in");
    }
    let by = By::command_line("posted in a forum").unwrap();
    world.app.revoke_licenses(&id_of(&ada), &by).await.unwrap();
    for path in [FILE, BUNDLE] {
        ada.http.get(path).await.refused(403, "license_revoked");
    }
}

both_engines!(
    a_licence_is_saved_as_a_file_that_says_what_it_is,
    a_bundle_is_all_that_a_machine_without_network_needs,
    there_is_no_file_where_there_is_no_licence,
);
