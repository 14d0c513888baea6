//! Credentials of basic authentication (RFC 7617).

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// The scheme (RFC 9110 section 11.1), which is case-insensitive.
const SCHEME: &[u8] = b"Basic";

/// The longest credentials, encoded, in bytes. Longer ones are none.
const ENCODED_BYTES_MAX: usize = 2048;

/// The usual alphabet (RFC 4648 section 4). Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and a password. There is no `Debug`, so that they get into no log.
pub(in crate::http) struct Credentials {
    text: Vec<u8>,
    colon: usize,
}

impl Credentials {
    /// Reads a value of the field `Authorization`. `None` if it has no credentials of this scheme,
    /// or if they are malformed.
    pub(in crate::http) fn parse(value: &[u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
        let encoded = rest.trim_ascii_start();
        let is_one = scheme.eq_ignore_ascii_case(SCHEME) && encoded.len() < rest.len();
        if !is_one || encoded.len() > ENCODED_BYTES_MAX {
            return None;
        }
        let text = BASE64.decode(encoded).ok()?;
        let colon = memchr::memchr(b':', &text)?;
        Some(Self { text, colon })
    }

    /// The name of the user: all up to the first colon.
    pub(in crate::http) fn user(&self) -> &[u8] {
        &self.text[..self.colon]
    }

    /// The password.
    pub(in crate::http) fn password(&self) -> &[u8] {
        &self.text[self.colon + 1..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_password_are_separated_by_the_first_colon() {
        // Those of RFC 7617, sections 2 and 2.1.
        for (value, user, password) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
            ("basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ", "Aladdin", "open sesame"),
            ("BASIC dGVzdDoxMjPCow==", "test", "123\u{a3}"),
            ("Basic YTpiOmM=", "a", "b:c"),
            ("Basic Og==", "", ""),
        ] {
            let credentials = Credentials::parse(value.as_bytes()).unwrap();
            assert_eq!(credentials.user(), user.as_bytes(), "{value}");
            assert_eq!(credentials.password(), password.as_bytes(), "{value}");
        }
        let long = format!("Basic {}", "QUFB".repeat(600));
        for value in
            ["", "Basic", "Basic ", "BasicQTpi", "Bearer QTpi", "Basic QQ==", "Basic ?", &long]
        {
            assert!(Credentials::parse(value.as_bytes()).is_none(), "{value}");
        }
    }
}
