//! The licence as a file to save and to send, and as a bundle for machines without a network.
//!
//! Nothing is made for it: the parts are the texts that are served anyway, and each of them proves itself. Keys that no root has
//! signed prove nothing to whoever gets them along with the licence, so they are not put into a bundle.

use counterfoil_core::{CustomerId, Refusal};
use counterfoil_license::{LicenseFile, inspect};

use super::licenses::no_license;
use super::{App, Error};

/// What goes into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The licence alone.
    License,
    /// The licence, the key set that the root has signed where one is installed, and the status list that the licence names.
    Bundle,
}

/// A file to save.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// Its name: letters, digits, `-`, `_` and `.`.
    pub name: String,
    pub text: String,
}

impl App {
    /// The newest version of the customer's licence as a file.
    ///
    /// # Errors
    /// As [`App::current_license`].
    pub async fn license_file(&self, customer_id: &CustomerId, contents: Contents) -> Result<Download, Error> {
        let account = self.account(customer_id).await?;
        let license = account.license.ok_or_else(|| no_license(account.right.err()))?.token;
        let (key_set, status_list) = match contents {
            Contents::License => (None, None),
            Contents::Bundle => (self.bundled_key_set().await?, self.status_list_of(&license).await?),
        };
        let company = account.customer.company_name.unwrap_or_default();
        let text = LicenseFile { license, key_set, status_list }.to_text_for(&company);
        Ok(Download { name: file_name(&self.settings.product, contents), text })
    }

    /// The key set that goes into bundles, where a root signs one.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn bundled_key_set(&self) -> Result<Option<String>, Error> {
        match self.served_key_set().await {
            Ok(served) => Ok(Some(served.token)),
            Err(Error::Refused(Refusal::NoKeySet)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The list that the licence names, as it is now. A list at another address than the lists have now says nothing about it.
    async fn status_list_of(&self, token: &str) -> Result<Option<String>, Error> {
        let place = inspect(token).ok().and_then(|(_header, claims)| claims.status_list);
        let Some(uri) = place.map(|place| place.uri) else { return Ok(None) };
        let number = uri.strip_suffix(".jwt").and_then(|uri| uri.rsplit('/').next()?.parse().ok());
        match number.filter(|&number| self.status_list_uri(number) == uri) {
            Some(number) => Ok(Some(self.status_list(number).await?.token.clone())),
            None => Ok(None),
        }
    }
}

/// The product may be called anything; a name in a header and on a disk may not.
fn file_name(product: &str, contents: Contents) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let product: String = product.chars().map(safe).collect();
    let kind = match contents {
        Contents::License => "license.lic",
        Contents::Bundle => "bundle.lic",
    };
    format!("{}-{kind}", product.trim_matches(['-', '.'])).trim_start_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_after_its_product() {
        for (product, expected) in [
            ("acme-editor", "acme-editor-license.lic"),
            ("Zoë's \"Editor\"; x=../y", "Zo--s--Editor---x-..-y-license.lic"),
            ("../..", "license.lic"),
            ("", "license.lic"),
        ] {
            assert_eq!(file_name(product, Contents::License), expected);
        }
        assert_eq!(file_name("acme", Contents::Bundle), "acme-bundle.lic");
    }
}
