use counterfoil_license::{Expectations, LicenseFile, RootPublicKey, SignedKeySet, StatusList, Verifier};
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether a feature may be used, and a sentence for the user if there is something to say.
pub fn allowed(feature: &str, file: &str, root: &str) -> Result<(bool, Option<String>), Box<dyn Error>> {
    let file = LicenseFile::parse(file)?; // a .lic file, a bundle, or the bare token
    let root: RootPublicKey = root.parse()?; // "cfroot1:…", written into your product
    let keys = SignedKeySet::open(&file.key_set.ok_or("no key set in the bundle")?, &root, None)?;
    let list = file.status_list.map(|text| StatusList::open(&text, &keys)).transpose()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;

    let expect = Expectations::new("https://billing.example.com", "acme-editor");
    let license = Verifier::new(&keys, expect).status_list(list.as_ref()).verify(&file.license, now);
    let notice = (license.state.code() != "valid").then(|| license.state.to_string());
    Ok((license.has_feature(feature), notice))
}
